"""What only a CUDA device can show: every precision learns, and so does all that training offers; long rows give the same
weights again, also after a kill; memory that really ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.base_models.finetuning import finetune
from pipeline.base_models.fold_training import build_trainee, train_fold
from pipeline.data.class_targets import ClassTargets
from pipeline.models.classifier import WEIGHTS, load_classifier
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Training
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.training.loop import train
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.conftest import ROOT
from tests.small import adapted, checkpoint, encoder, frame, table_and_folds

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none"),
]


def accuracy_on_gpu(**training) -> float:
    table, folds = table_and_folds(n_train=120)
    finetune(
        "bert",
        table,
        folds,
        settings=encoder({"epochs": 30, "learning_rate": 5e-3, "head_learning_rate": 1e-2, **training}),
        recipe={"train": "k", "predict": "p"},
        metrics={"weather": Component(kind="metrics", name="accuracy")},
        seed=0,
        run=Run(device="cuda", n_workers=1),
        folder=Path("out/finetune/bert"),
    )
    path = predictions_path("finetune", "bert", "weather")
    rows = table.select("weather", "train")
    predictions = read_predictions(path, manifest=folds.digest)
    probabilities = probabilities_of(predictions, "oof", rows["row_id"].tolist(), kind=ClassTargets())
    return float(np.mean(probabilities.argmax(axis=1) == rows["label"].astype(int)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns(precision: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert accuracy_on_gpu(precision=precision) > 0.8


def test_gradient_checkpointing_learns(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert accuracy_on_gpu(gradient_checkpointing=True) > 0.8


@pytest.mark.parametrize(
    "craft",
    [
        {"optimizer": {"name": "lookahead", "optimizer": "radam"}},
        {"optimizer": "muon"},
        {"optimizer": "schedule_free", "schedule": "constant"},
        {"optimizer": "adafactor", "averaging": "ema"},
        {"adversarial": "fgm", "mixout": 0.1},
        {"adversarial": "freelb", "dropout_samples": 3},
        {"adversarial": "awp", "averaging": "swa"},
        {"adversarial": "smart", "precision": "fp16"},
        {"objective": "r_drop", "averaging": "greedy_soup", "epoch_selection": "inner"},
    ],
    ids=lambda craft: "+".join(str(value) for value in craft.values()),
)
def test_what_training_offers_learns(craft: dict[str, Any], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert accuracy_on_gpu(**craft) > 0.8


STATEFUL = {"optimizer": {"name": "lookahead", "optimizer": "adamw"}, "averaging": "ema", "adversarial": "awp"}


def train_long(precision: str, **craft: Any) -> bytes:
    """Train two layers of BERT-base's width on rows of 256 tokens and return the bytes of the weights."""
    rows = frame(64).assign(text=lambda rows: [" ".join([text] * 32) for text in rows["text"]])
    training = {"max_length": 256, "batch_size": 32, "epochs": 3, "precision": precision, "checkpoint_seconds": 1e-3}
    settings = encoder({**training, **craft}, hidden_size=768, n_heads=12, n_layers=2)
    arguments = {"rows": rows, "n_outputs": 2, "settings": settings, "scorer": None, "seed": 0}
    unit = Unit("long", {"precision": precision, "craft": sorted(craft)})
    run_units([(unit, train_fold, arguments)], run=Run(device="cuda", n_workers=1), stage=Stage("long"))
    return (unit.result / WEIGHTS).read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_long_rows_give_the_same_weights_again(precision: str, tmp_path, monkeypatch) -> None:
    weights = []
    for attempt in ("first", "second"):
        (tmp_path / attempt).mkdir()
        monkeypatch.chdir(tmp_path / attempt)
        weights.append(train_long(precision))
    assert weights[0] == weights[1]


@pytest.mark.parametrize("craft", [{}, STATEFUL], ids=["plain", "stateful"])
def test_killed_on_a_gpu_and_resumed_it_ends_in_the_same_weights(craft, tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "undisturbed").mkdir()
    monkeypatch.chdir(tmp_path / "undisturbed")
    expected = train_long("bf16", **craft)
    monkeypatch.chdir(tmp_path)
    program = f"from tests.test_gpu import train_long; train_long('bf16', **{craft!r})"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "STITCHFOLD_FAILPOINT": "checkpoint:3"}
    killed = subprocess.run([sys.executable, "-c", program], env=environment)
    assert killed.returncode == -signal.SIGKILL
    with caplog.at_level("INFO"):
        assert train_long("bf16", **craft) == expected
    assert "resumed at step 2 of 6" in caplog.text


@pytest.mark.parametrize("weights", ["bf16", "nf4"])
def test_an_adapter_over_a_base_of_few_bits_learns_and_comes_back(weights: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = adapted(checkpoint(Path("models/base")), weights=weights, epochs=20, gradient_checkpointing=True)
    trainee = build_trainee(rows=frame(64), n_outputs=2, settings=settings, scorer=None, seed=0)
    model, inputs, groups = trainee.model, trainee.objective.inputs, trainee.parameter_groups
    history = train(model, trainee.objective, groups, settings=settings, seed=0, device="cuda")
    assert history.epochs[-1]["loss"] < 0.3 < history.epochs[0]["loss"]
    Path("fold").mkdir()
    trainee.save(Path("fold"))
    with torch.autocast("cuda", torch.bfloat16):
        logits = predict_logits(model, inputs, 1000)
        assert np.array_equal(predict_logits(load_classifier(Path("fold"))[0].cuda(), inputs, 1000), logits)
    merged = predict_logits(load_classifier(Path("fold"), merged=True)[0], inputs, 1000)
    assert np.array_equal(merged.argmax(axis=1), logits.argmax(axis=1))


class Wide(nn.Module):
    """A model that takes 64 MiB and more for every row."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, None] * self.weight.expand(2**24)  # (B, 2**24)


class WideRows:
    """32 rows of one token each, whose targets are ones."""

    lengths = np.ones(32, np.int64)

    def batch(self, rows, step):
        return {"inputs": torch.ones(len(rows))}

    def weights(self, batch):
        return {"loss": float(len(batch["inputs"]))}

    def loss_sums(self, model, batch, progress):
        return {"loss": ((model(batch["inputs"]) - 1) ** 2).mean(dim=1).sum()}


@pytest.mark.gpu
def test_F12_memory_of_a_real_device_that_ends_halves_the_micro_batch() -> None:
    """On a CUDA device whose memory really ends the micro-batch is halved until the rows fit, with the same steps."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(2 * 2**30 / total)
    try:
        model = Wide()
        settings = Training(epochs=2, batch_size=32, tokens_per_micro_batch=32, precision="fp32")
        groups = [{"params": list(model.parameters()), "lr": 0.1, "weight_decay": 0.0}]
        history = train(model, WideRows(), groups, settings=settings, seed=0, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert history.token_budget < 32 and history.steps[-1]["step"] == 2
