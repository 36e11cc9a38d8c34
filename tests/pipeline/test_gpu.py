"""What only a CUDA device can show: every precision learns, also with gradient checkpointing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import artifacts
from pipeline.finetuning import finetune
from pipeline.params import Component, Run
from pipeline.probabilities import probabilities_of
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
    path = artifacts.predictions_path("finetune", "bert", "weather")
    rows = table.select("weather", "train")
    predictions = artifacts.read_predictions(path, manifest=folds.digest)
    probabilities = probabilities_of(predictions, "oof", rows["row_id"].tolist())
    return float(np.mean(probabilities.argmax(axis=1) == rows["label"].astype(int)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns(precision: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert accuracy_on_gpu(precision=precision) > 0.8


def test_gradient_checkpointing_learns(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert accuracy_on_gpu(gradient_checkpointing=True) > 0.8
