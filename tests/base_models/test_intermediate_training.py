"""Stages of data: an encoder learns auxiliary tasks first, each fold from its own rows, and its own tasks begin there."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.histories import read_history
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models import finetuning
from pipeline.base_models.finetuning import finetune
from pipeline.base_models.intermediate_training import TrainedSource, train_begun
from pipeline.checks.unit_needs import encoder_needs
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.models.classifier import WEIGHTS, load_classifier
from pipeline.params import tasks
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.params.tasks import Task
from pipeline.params.training_checks import check_intermediate, check_sharing
from pipeline.report.leaks import begun_at_other_folds
from tests.base_models.test_shared_training import bytes_of, workspace
from tests.base_models.test_training_steps import counts, notes, recipe_of
from tests.small import TEXTS, encoder, frame

# Numbers first, then classes: kinds of task may differ.
TASKS = {"weather": ("multiclass", ["0", "1"]), "animals": ("regression", ["n"]), "cat": ("multiclass", ["0", "1"])}
METRICS = {
    task: Component(kind="metrics", name="rmse" if kind == "regression" else "accuracy")
    for task, (kind, _) in TASKS.items()
}
FIRST = {"tasks": ["animals"], "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which an encoder has learnt animals first, and then the weather."""
    folder: Path = tmp_path_factory.mktemp("learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(settings_of())
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(learnt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(learnt, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def settings_of(*first: str, **training: Any) -> Encoder:
    given = {"epochs": 1, "intermediate": {**FIRST, "tasks": list(first) or ["animals"], "epochs": 1}, **training}
    return encoder({**given, "of_task": {"animals": {"loss": "mse"}, **given.get("of_task", {})}})


def table_and_manifest() -> tuple[Table, Folds]:
    """Return tasks over texts of which each task has some that others have too, in an order of its own."""
    parts = []
    for number, task in enumerate(TASKS):
        rows = frame(72).sample(frac=0.6, random_state=number, ignore_index=True)
        n_animals = rows["text"].str.count("cat|dog|owl")
        labels = {
            "weather": rows["label"],
            "animals": n_animals.astype(float),
            "cat": rows["text"].str.contains("cat") * 1,
        }
        columns = {"task": task, "split": "train", "label": labels[task].astype(str), "group": None}
        parts.append(rows.assign(row_id=[f"{n:03d}" for n in range(len(rows))], **columns).drop(columns="cluster"))
    labels, kinds = ({task: known[place] for task, known in TASKS.items()} for place in (1, 0))
    table = Table(pd.concat(parts, ignore_index=True), labels, {task: (kind, {}) for task, kind in kinds.items()})
    folds = tasks.Folds(n_splits=2, near_duplicate_similarity=0.85)
    plan = assign_folds(table, cluster_rows(table, similarity=0.85), folds=folds, seed=1)
    return table, Folds(plan, "f" * 64)


def run(settings: Encoder) -> list[Any]:
    table, folds = table_and_manifest()
    finetune(
        "bert", table, folds, settings=settings, recipe=recipe_of(settings), metrics=METRICS, seed=0,
        run=Run(device="cpu", n_workers=1), folder=Path("out/finetune/bert"),
    )  # fmt: skip
    return read_history(Path("out/finetune/bert"))


def test_a_fold_begins_where_the_same_fold_of_the_task_before_ended_and_only_what_changed_trains_again() -> None:
    """The first task's models are those of an encoder that is trained on it alone, and its predictions come from them."""
    units = read_history(Path("out/finetune/bert"))
    assert (counts("finetune-first-bert-animals"), counts("finetune-bert")) == ((2, 0), (4, 0))
    keys = {(unit["task"], unit["fold"]): unit["key"] for unit in units}
    for unit in units:
        first = [{"task": "animals", "key": keys["animals", unit["fold"]]}]
        assert unit.get("first") == (None if unit["task"] == "animals" else first)
    assert not list(begun_at_other_folds("finetune@bert", units)) and Path("out/finetune/bert/animals.parquet").exists()
    assert {note["first"] for note in notes().values() if "first" in note} == {keys["animals", 0], keys["animals", 1]}
    run(settings_of(epochs=2, of_task={"weather": {"head": "mlp"}}))
    assert (counts("finetune-first-bert-animals"), counts("finetune-bert")) == ((0, 2), (4, 0))
    run(settings_of().training_steps["first-animals"])
    assert counts("finetune-bert") == (4, 2)


def test_several_tasks_come_one_after_another_before_a_shared_model_too() -> None:
    units = run(settings_of(sharing="hard"))
    assert [counts(f"finetune-{name}") for name in ("first-bert-animals", "bert")] == [(0, 2), (2, 0)]
    assert [len(unit.get("first", ())) for unit in units] == [1, 1, 0, 0, 1, 1]
    units = run(settings_of("animals", "cat"))
    assert [counts(f"finetune-first-bert-{task}") for task in ("animals", "cat")] == [(0, 2), (2, 0)]
    lineages = {unit["task"]: [first["task"] for first in unit.get("first", ())] for unit in units}
    assert lineages == {"weather": ["animals", "cat"], "cat": ["animals"], "animals": []}


def test_L4_what_is_scored_in_a_fold_was_not_learnt_in_its_first_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of a scored row that stands in the auxiliary task is in none of the rows from which that fold's encoder came."""
    trained: dict[str, set[str]] = {}
    begun: dict[str, tuple[str, str]] = {}

    def note(jobs: list[Any], **_: Any) -> None:
        for unit, _work, arguments in jobs:
            trained[unit.key] = set(arguments["rows"]["text"])
            if "first" in unit.depends_on:
                begun[unit.key] = unit.depends_on["first"], unit.name.split("/")[1].split("-")[0]

    monkeypatch.setattr(finetuning, "run_units", note)
    monkeypatch.setattr(finetuning, "collect", lambda *_, **__: None)
    run(settings_of())
    table = table_and_manifest()[0]
    texts = {task: set(table.select(task, "train")["text"]) for task in TASKS}
    n_met = 0
    for key, (first, task) in begun.items():
        scored = texts[task] - trained[key]
        n_met += len(scored & texts["animals"])
        assert not scored & trained[first]
    assert len(begun) == 4 and n_met > 20  # it would be seen


def test_L4_an_encoder_of_another_fold_is_a_leak() -> None:
    """A model that began at the encoder of another fold is found among what was trained."""
    place = {"repeat": 0, "epochs": []}
    first = [{**place, "task": "animals", "fold": fold, "key": f"a{fold}"} for fold in (0, 1)]
    units: Any = [*first, *({**place, "task": "weather", "fold": fold, "key": f"w{fold}"} for fold in (0, 1))]
    for unit, key in zip(units[2:], ("a0", "a0"), strict=True):
        unit["first"] = [{"task": "animals", "key": key}]
    [leak] = begun_at_other_folds("finetune@bert", units)
    assert leak.certain and "weather-r0-f1: must begin at its fold's encoder of animals, got another one" in leak.text


def test_the_encoder_and_its_words_are_kept_and_the_readout_begins_anew() -> None:
    folder = Path("out/finetune/bert/models/animals-r0-f0")
    source = TrainedSource(**encoder().source.model_dump(), folder=folder)
    parts = source.build(texts=TEXTS, max_length=16, seed=5)
    left = load_file(folder / WEIGHTS)
    state = parts.model.state_dict()
    assert all(torch.equal(tensor, left[f"backbone.{name}"]) for name, tensor in state.items())
    _, tokenizer = load_classifier(Path("out/finetune/bert/models/weather-r0-f0"))
    assert tokenizer.get_vocab() == parts.tokenizer.get_vocab()
    with pytest.raises(ValueError, match="max_length: must be at most 24, the positions of .*animals-r0-f0, got 32"):
        source.build(max_length=32)


def test_F1_I1_it_goes_on_after_a_kill_in_the_same_bytes() -> None:
    """Killed and begun again, a training that begins at another task's encoder leaves the same files."""
    first = Path("out/finetune/bert/models/animals-r0-f0")
    settings = encoder({"checkpoint_seconds": 1e-9, "dropout_samples": 2})

    def train(home: Any) -> dict[str, Any]:
        train_begun(
            home, first=first, rows=frame(), settings=settings, scorer=None, n_outputs=2, seed=3, labels=["0", "1"]
        )
        return bytes_of(home)

    with pytest.raises(KeyboardInterrupt):
        train(workspace("killed", kill_at=4))
    resumed, whole = train(workspace("killed")), train(workspace("whole"))
    assert resumed == whole


def test_what_comes_first_is_known_by_what_reaches_it_and_without_it_nothing_changes() -> None:
    plain, base = encoder({"epochs": 1}), recipe_of(settings_of("animals", "cat"))
    assert "intermediate" not in plain.model_dump() and "steps" not in recipe_of(plain)
    changes = {
        "alone": {"epochs": 2, "of_task": {"weather": {"layer": 1}}},
        "first-cat": {"of_task": {"cat": {"head": "text_cnn"}}},
        "first-animals first-cat": {"intermediate": {"tasks": ["animals", "cat"], "epochs": 2, "learning_rate": 2e-3}},
        "first-animals first-cat alone": {"weight_decay": 0.5},
    }
    for changed, options in changes.items():
        other = recipe_of(settings_of("animals", "cat", **options))
        assert [step for step in base["steps"] if base["steps"][step] != other["steps"][step]] == changed.split()
        assert base["train"] != other["train"]
    steps = settings_of("animals", "cat", reinit_layers=1).training_steps
    assert [step.reinit_layers for step in steps.values()] == [1, 0, 0]  # what begins anew does so once


def test_a_forecast_counts_the_units_of_what_comes_first() -> None:
    places = [(task, 0, fold) for task in ("weather", "animals", "cat") for fold in range(3)]
    options: dict[str, Any] = {"run": Run(device="cpu"), "seed": 0, "recipe": {}}
    needs = encoder_needs("bert", settings_of(), places, **options)
    assert [(need.name, need.n_open) for need in needs] == [("bert, first-animals", 3), ("bert, alone", 6)]
    needs = encoder_needs("bert", settings_of(sharing="hard"), places, **options)
    assert [(need.name, need.n_open) for need in needs] == [("bert, first-animals", 3), ("bert, shared", 3)]


FILES = {"kind": "multiclass", "metric": "accuracy", "train": "a.csv"}
KNOWN = {
    "weather": Task.model_validate({**FILES, "test": "b.csv"}),
    **{name: Task.model_validate({**FILES, "submit": False}) for name in ("animals", "cat")},
}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tasks": ["animal"]}, "intermediate.tasks.0: got 'animal', expected one of .* Did you mean 'animals'"),
        ({"tasks": ["cat", "cat"]}, "intermediate.tasks.1: must name each task once, got cat twice"),
        ({"tasks": ["weather"]}, "intermediate.tasks.0: must be auxiliary, but weather is submitted"),
        ({"average_first": {}, "sharing": "hard"}, "average_first: says where a model begins, as intermediate does"),
        ({"adversarial": "fgm", "adversarial_start_epoch": 1}, "intermediate: adversarial_start_epoch: must be below epochs"),
        (
            {"of_task": {"cat": {"max_length": 8}}},
            "intermediate.tasks.0: cat must read as much as the longest task, 16 tokens, since from_config makes positions",
        ),
    ],
)  # fmt: skip
def test_a_contradiction_names_its_key_and_a_way_out(settings: dict, text: str) -> None:
    given = {"tasks": settings.pop("tasks", ["cat"]), "epochs": 1}
    found = check_intermediate(encoder({"epochs": 2, "intermediate": given, **settings}), KNOWN)
    [said] = [f"{'.'.join(map(str, location))}: {what}" for location, what, *_ in found]
    assert re.search(text, said)


def test_good_settings_pass_and_a_shared_model_needs_two_tasks_of_its_own() -> None:
    first = {"intermediate": {"tasks": ["animals", "cat"]}}
    assert not list(check_intermediate(encoder(first), KNOWN))
    [(location, text, *_)] = check_sharing(encoder({"sharing": "hard", **first}), KNOWN)
    assert location == ("sharing",) and "is for several tasks, got one" in text
