"""What only a CUDA device can show: every precision learns, also with gradient checkpointing; memory that really ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.probabilities import probabilities_of
from pipeline.base_models.finetuning import finetune
from pipeline.data.class_targets import ClassTargets
from pipeline.params.encoders import Training
from pipeline.params.fields import Component
from pipeline.params.run import Run
from pipeline.training.loop import train
from tests.small import encoder, table_and_folds

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
