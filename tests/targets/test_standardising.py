"""Numbers are learned standardised and come back in their units, whatever these are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.base_models.fold_training import build_trainee
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import load_classifier
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Encoder
from pipeline.targets.standardising import units_of
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from tests.small import encoder, frame


def trained(targets: np.ndarray, folder: Path, **training: Any) -> tuple[np.ndarray, list[float]]:
    """Return what a model trained on numbers (N, V) predicts of its rows once saved and loaded, and its losses."""
    settings: Encoder = encoder({"loss": "mse", "epochs": 3, "head_learning_rate": 1e-2, **training})
    rows: pd.DataFrame = frame(len(targets)).assign(label=targets.tolist())
    trainee = build_trainee(rows=rows, n_outputs=targets.shape[1], settings=settings, scorer=None, seed=0)
    groups = trainee.parameter_groups
    plugged = plug_ins(settings, groups)
    history = train(trainee.model, trainee.objective, groups, settings=settings, seed=1, device="cpu", **plugged)
    folder.mkdir()
    trainee.save(folder)
    model, tokenizer = load_classifier(folder)
    return predict_logits(model, encode_rows(tokenizer, rows, settings), 4096), [step["loss"] for step in history.steps]


SUM = {"name": "weighted_sum", "losses": ["mse", "logit_squeezing"], "weights": [1, 0.1]}
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "head that reads tokens": {"head": "text_cnn", "pooling": None, "dropout_samples": 2},
    "penalty on outputs": {"loss": SUM},
    "mixed rows": {"objective": "mixup", "loss": "smooth_l1"},
    "adversarial": {"adversarial": "fgm", "loss": {"name": "huber", "delta": 0.5}},
}


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
def test_other_units_of_the_targets_are_other_units_of_the_predictions_and_nothing_else(tmp_path, training) -> None:
    weather = frame(24)["label"].to_numpy().astype(float)
    plain = np.stack([weather, np.arange(24.0)], axis=1)
    plain[::5, 1] = np.nan
    moved = plain * [1000.0, 0.01] + [50_000.0, -7.0]
    predicted, losses = trained(plain, tmp_path / "plain", **training)
    again, losses_again = trained(moved, tmp_path / "moved", **training)
    np.testing.assert_allclose(losses_again, losses, rtol=1e-3)
    np.testing.assert_allclose((again - [50_000.0, -7.0]) / [1000.0, 0.01], predicted, rtol=0.01, atol=0.02)
    assert max(losses) < 20, "the loss sees deviations, not units"


def test_what_never_differs_or_is_never_known_is_learned_without_a_division_by_zero(tmp_path) -> None:
    targets = np.stack([np.full(8, 3.0), np.full(8, np.nan)], axis=1)
    assert units_of(targets) == {"mean": [3.0, 0.0], "deviation": [1.0, 1.0]}
    predicted, losses = trained(targets, tmp_path / "model")
    assert np.isfinite(predicted).all() and np.isfinite(losses).all() and np.abs(predicted[:, 0] - 3).max() < 2


def test_labels_have_no_units() -> None:
    assert units_of(np.array([0, 1, 1])) is None and units_of(np.eye(2, dtype=np.int8)) is None


def test_units_are_those_of_the_rows_that_are_trained_on_alone(tmp_path) -> None:
    """Rows that choose the epoch do not count: here half of them, which are all far away."""
    targets = np.arange(24.0)[:, None]
    settings = encoder({"loss": "mse", "epoch_selection": "inner", "inner_ratio": 0.4})
    rows = frame(24).assign(label=targets.tolist())
    trainee = build_trainee(rows=rows, n_outputs=1, settings=settings, scorer=None, seed=0)
    fitted = trainee.objective.labels.numpy()
    assert len(fitted) < 24
    assert trainee.model.readout.spec["units"] == units_of(fitted)
    assert torch.equal(trainee.model.readout.mean, torch.tensor(units_of(fitted)["mean"], dtype=torch.float32))


def test_in_half_precision_units_far_from_zero_lose_nothing_but_the_precision_of_the_head() -> None:
    rows = frame(8).assign(label=[[1000.0 + i] for i in range(8)])
    trainee = build_trainee(rows=rows, n_outputs=1, settings=encoder({"loss": "mse"}), scorer=None, seed=0)
    trainee.model.eval()
    batch = trainee.objective.batch(np.arange(8), 0)
    with torch.no_grad():
        exact = trainee.model(batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = trainee.model(batch)
    assert half.dtype == torch.float32
    deviation = rows["label"].map(lambda cell: cell[0]).std(ddof=0)
    torch.testing.assert_close(
        half, exact, rtol=0, atol=0.02 * deviation
    )  # bf16 itself tells 1000 from 1004 and no nearer
