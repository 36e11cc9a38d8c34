"""Folds that begin at a further pre-training: whose texts it saw, what makes it run again, and models of several tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.histories import HISTORY, read_history
from pipeline.artifacts.paths import pretrained_folder
from pipeline.base_models.pretrained_starts import pretraining_jobs
from pipeline.checks.unit_needs import encoder_needs
from pipeline.data.fold_jobs import fold_jobs
from pipeline.models.classifier import WEIGHTS
from pipeline.params.encoders import Encoder
from pipeline.params.root import Run
from pipeline.params.stitch import Stitch
from pipeline.stitch.fold_encoders import fold_base
from tests.base_models.test_shared_training import TASKS, run, two_tasks
from tests.base_models.test_training_steps import counts, recipe_of
from tests.small import encoder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(training: dict[str, Any] | None = None, **pretrain: Any) -> Encoder:
    before = {"epochs": 1, "learning_rate": 3e-3, "held_out_ratio": 0.2, **pretrain}
    return encoder({"epochs": 1, "pretrain": before, **(training or {})})


def run_with(settings: Encoder) -> None:
    run(settings=settings, recipe=recipe_of(settings))


def jobs_of(settings: Encoder) -> dict[Any, Any]:
    places, options = [(0, 0), (0, 1)], {"seed": 0, "run": Run(device="cpu")}
    return pretraining_jobs("bert", *two_tasks(), places, settings=settings, recipe=recipe_of(settings), **options)


def test_folds_begin_at_what_was_pre_trained_once_and_another_rate_pre_trains_nothing_again() -> None:
    run_with(settings_of())
    assert (counts("finetune-pretrain-bert"), counts("finetune-bert")) == ((1, 0), (4, 0))
    run_with(settings_of({"learning_rate": 1e-5}))
    assert (counts("finetune-pretrain-bert"), counts("finetune-bert")) == ((0, 1), (4, 0))
    run_with(settings_of({"learning_rate": 1e-5}, checkpoint_seconds=1.0))
    assert (counts("finetune-pretrain-bert"), counts("finetune-bert")) == ((0, 1), (0, 4))
    run_with(settings_of({"learning_rate": 1e-5}, mask_ratio=0.2))
    assert (counts("finetune-pretrain-bert"), counts("finetune-bert")) == ((1, 0), (4, 0))
    folder = Path("out/finetune/bert")
    [record] = json.loads((folder / HISTORY).read_text(encoding="utf-8"))["pretraining"]
    assert record["name"] == "all" and record["seen"] == {
        "texts": {"tasks": 48}, "transductive": False, "per_fold": False,
    }  # fmt: skip
    before = load_file(pretrained_folder(folder, None) / WEIGHTS)["bert.embeddings.word_embeddings.weight"]
    after = load_file(folder / "models" / "weather-r0-f0" / WEIGHTS)["backbone.embeddings.word_embeddings.weight"]
    assert 0 < (before - after).abs().max() < 1e-3  # a rate of 1e-5 moved it, from there and from nowhere else


@pytest.mark.parametrize("training", [{}, {"average_first": {}, "further": {}}], ids=["shared", "three steps"])
def test_a_model_of_several_tasks_begins_at_it_too(training: dict[str, Any]) -> None:
    settings = settings_of({"sharing": "hard", "learning_rate": 1e-5, **training})
    run_with(settings)
    assert counts("finetune-pretrain-bert") == (1, 0)
    folder = Path("out/finetune/bert")
    before = load_file(pretrained_folder(folder, None) / WEIGHTS)["bert.embeddings.word_embeddings.weight"]
    for task in TASKS:
        after = load_file(folder / "models" / f"{task}-r0-f0" / WEIGHTS)["backbone.embeddings.word_embeddings.weight"]
        assert 0 < (before - after).abs().max() < 1e-3


def test_per_fold_each_fold_has_its_own_which_never_saw_its_validation_texts() -> None:
    table, folds = two_tasks()
    settings = settings_of(per_fold=True)
    jobs = jobs_of(settings)
    assert len({unit.key for unit, *_ in jobs.values()}) == 2
    for (_, fold), (_, _, arguments) in jobs.items():
        ids = set(folds.rows.loc[folds.rows["fold"] == fold, "row_id"])
        validated = set(table.rows.loc[table.rows["row_id"].isin(ids) & (table.rows["split"] == "train"), "text"])
        assert validated and not validated & set(arguments["corpus"].texts) and "label" not in arguments
    run_with(settings)
    folder = Path("out/finetune/bert")
    starts = [load_file(pretrained_folder(folder, place) / WEIGHTS) for place in jobs]
    assert not torch.equal(*(start["bert.embeddings.position_embeddings.weight"] for start in starts))
    [of_all] = {unit.key for unit, *_ in jobs_of(settings_of()).values()}
    assert of_all not in {unit.key for unit, *_ in jobs.values()}


def test_labels_have_no_say_and_what_did_not_set_it_has_the_recipe_that_it_had() -> None:
    table, folds = two_tasks()
    settings = settings_of()
    turned = table.rows.assign(label=table.rows["label"].map({"0": "1", "1": "0"}))
    keys = [
        {
            unit.key
            for unit, *_ in pretraining_jobs(
                "bert", type(table)(rows, table.labels, table.kinds), folds, [(0, 0)], settings=settings,
                recipe=recipe_of(settings), seed=0, run=Run(device="cpu"),
            ).values()
        }
        for rows in (table.rows, turned)
    ]  # fmt: skip
    assert keys[0] == keys[1]
    plain = encoder({"epochs": 1})
    assert "pretrain" not in plain.model_dump() and "pretrain" not in recipe_of(plain) and not jobs_of(plain)


def test_heads_stitched_over_encoders_before_fine_tuning_read_what_was_pre_trained() -> None:
    settings = settings_of()
    run_with(settings)
    folder, jobs = Path("out/finetune/bert"), fold_jobs(*two_tasks(), seed=0)
    stitch = Stitch.model_validate({"base": "pretrained"})
    base = fold_base(folder, jobs[0], read_history(folder), encoder_settings=settings, settings=stitch, code="c")
    states = base.load()[0].backbone.state_dict()
    start = load_file(pretrained_folder(folder, None) / WEIGHTS)
    assert all(torch.equal(tensor, start[f"bert.{name}"]) for name, tensor in states.items() if "pooler" not in name)
    other = fold_base(folder, jobs[1], read_history(folder), encoder_settings=settings, settings=stitch, code="c")
    assert other.digest == base.digest


def test_a_forecast_counts_the_units_of_pre_training() -> None:
    places = [("weather", 0, fold) for fold in range(3)]
    for per_fold, n_units in ((False, 1), (True, 3)):
        settings = settings_of(per_fold=per_fold)
        needs = encoder_needs("bert", settings, places, run=Run(device="cpu"), seed=0, recipe=recipe_of(settings))
        assert [(need.name, need.n_open) for need in needs] == [("bert, pretrain", n_units), ("bert", 3)]
    run_with(settings)
    done = [(task, 0, fold) for task in TASKS for fold in range(2)]
    needs = encoder_needs("bert", settings, done, run=Run(device="cpu"), seed=0, recipe=recipe_of(settings))
    assert [need.n_open for need in needs] == [0, 0]
