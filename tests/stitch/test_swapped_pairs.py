"""Pairs whose order says nothing, rendered from templates: learnt in both orders and predicted alike in either."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.histories import read_history
from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, read_predictions
from pipeline.artifacts.table import Folds, Reading, Table, in_both_orders
from pipeline.base_models.finetuning import finetune
from pipeline.data.class_targets import ClassTargets
from pipeline.data.fold_jobs import fold_jobs
from pipeline.data.task_kinds.regression import build as regression
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import load_classifier
from pipeline.models.prediction import mean_of_orders, predict_logits
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.stitch.stitching import stitch
from pipeline.text.templates import render
from tests.small import WORDS, table_and_folds
from tests.stitch.test_stitching import make_params

FIELDS = ["title", "body", "other_title", "other_body"]
TEMPLATE = "{title} [SEP] {body}"
KIND = ClassTargets()
PAIR = "bert+electra+cnn"


def pair_table() -> tuple[Table, Folds]:
    """Return rows of random pairs, of which the second half of the test rows are the first half the other way round."""
    table, folds = table_and_folds(n_train=24, n_test=8)
    generator = np.random.default_rng(0)
    fields = {
        name: [" ".join(generator.choice(WORDS, generator.integers(0, 9))) for _ in range(len(table.rows))]
        for name in ("title", "body")
    }
    texts = pd.Series(render(TEMPLATE, fields))
    rows = table.rows.assign(text=texts, text_pair=texts[::-1].to_numpy())
    first, second = rows.index[24:28], rows.index[28:]
    rows.loc[second, ["text", "text_pair"]] = rows.loc[first, ["text_pair", "text"]].to_numpy()
    return replace(table, rows=rows, reading={"weather": Reading(FIELDS, swap=True)}), folds


TABLE, FOLDS = pair_table()


def swapping_params() -> Params:
    params = make_params({"epochs": 1})
    budgets = {"title": 0.2, "body": 3, "other_title": 0.2, "other_body": 3}
    encoders = {
        name: params.encoders[name].model_copy(update={"field_budgets": budgets, "max_length": 24})
        for name in ("bert", "electra")
    }
    return params.model_copy(update={"encoders": encoders})


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> Path:
    folder, params = tmp_path_factory.mktemp("swapped"), swapping_params()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        metrics = {name: task.metric for name, task in params.tasks.items()}
        for name, settings in params.encoders.items():
            finetune(
                name, TABLE, FOLDS, settings=settings, recipe=encoder_recipe(params, name), metrics=metrics,
                seed=params.seed, run=params.run, folder=Path("out/finetune") / name,
            )  # fmt: skip
        stitch(params, TABLE, FOLDS, recipe=stage_recipe(params, "stitch"), folder=Path("out/stitch"))
    return folder


def predictions(stage: str, model: str) -> Predictions:
    return read_predictions(predictions_path(stage, model, "weather"), manifest=FOLDS.digest)


@pytest.mark.parametrize(("stage", "model"), [("finetune", "bert"), ("stitch", PAIR)])
def test_both_orders_are_learnt_and_either_is_predicted_alike(
    computed: Path, monkeypatch, stage: str, model: str
) -> None:
    monkeypatch.chdir(computed)
    assert [unit["n_rows"] for unit in read_history(Path("out") / stage / model)] == [24, 24]  # of 12 training rows
    predicted = predictions(stage, model)
    assert predicted.rows["split"].value_counts().to_dict() == {"oof": 24, "test": 16}
    values = pd.DataFrame(KIND.values(predicted.logits), index=predicted.rows["row_id"])
    values = values.groupby(level=0).mean().loc["024":]
    assert np.allclose(values.loc["024":"027"], values.loc["028":"031"], atol=1e-5)
    assert values.round(5).nunique().min() >= 4


def test_a_prediction_is_the_mean_of_both_orders_probabilities_within_the_budgets(computed: Path, monkeypatch) -> None:
    monkeypatch.chdir(computed)
    job = fold_jobs(TABLE, FOLDS, seed=3)[0]
    model, tokenizer = load_classifier(Path("out/finetune/bert/models") / job.name)
    settings = swapping_params().encoders["bert"].reading(FIELDS)
    assert settings.field_budgets == {"0": 0.2, "1": 3, "2": 0.2, "3": 3}
    encoded = encode_rows(tokenizer, in_both_orders(job.predicted), settings)
    assert encoded.lengths.max() <= 24 and encoded.n_truncated > 0
    logits = predict_logits(model, encoded, 4096)
    expected = (KIND.values(logits[: len(logits) // 2]) + KIND.values(logits[len(logits) // 2 :])) / 2
    predicted = predictions("finetune", "bert")
    of_fold = (predicted.rows["fold"] == job.fold).to_numpy()
    assert np.allclose(KIND.values(predicted.logits[of_fold]), expected, atol=1e-5)


def test_numbers_of_both_orders_are_averaged_as_numbers() -> None:
    kind = regression()
    assert mean_of_orders(np.array([[1.0], [2.0], [3.0], [6.0]], np.float32), kind).tolist() == [[2.0], [4.0]]
