"""A fold that keeps an adapter and names its base: resumed after a kill, without it, over another one, of several tasks."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.checks.verify import check_fold_models
from pipeline.errors import failpoints
from pipeline.errors.exceptions import MachineError
from pipeline.models.classifier import WEIGHTS, load_classifier
from pipeline.params.fields import Component
from pipeline.params.root import Run
from tests.base_models.test_shared_training import TASKS, two_tasks
from tests.children import begin_in_child
from tests.small import adapted, checkpoint, table_and_folds

MODELS = Path("out/finetune/qwen/models")
EVERY_STEP: dict[str, Any] = {"averaging": "ema", "epoch_selection": "inner", "checkpoint_seconds": 1e-6}


def run(data: tuple[Table, Folds] | None = None, **given: Any) -> dict[Path, dict[str, torch.Tensor]]:
    """Fine-tune over the checkpoint `models/base` in the current folder and return what each fold keeps."""
    table, folds = data or table_and_folds(n_train=48)
    settings = adapted(Path("models/base"), **given)
    digests = dict.fromkeys(settings.training_steps, "k")
    finetune(
        "qwen", table, folds, settings=settings, recipe={"train": "k", "predict": "p"} | ({"steps": digests} if data else {}),
        metrics=dict.fromkeys(TASKS, Component(kind="metrics", name="accuracy")), seed=0,
        run=Run(device="cpu", backend="sequential"), folder=MODELS.parent,
    )  # fmt: skip
    return {path.parent: load_file(path) for path in sorted(MODELS.glob(f"*/{WEIGHTS}"))}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in the current folder."""
    monkeypatch.chdir(tmp_path)
    return checkpoint(Path("models/base"))


def test_F1_I1_killed_and_resumed_an_adapter_ends_in_the_same_bytes_from_small_checkpoints(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training of an adapter, killed and resumed, ends in the same bytes; its checkpoints hold what learns and no base."""
    expected = run(**EVERY_STEP)
    assert len(expected) == 2
    for folder in ("out", ".stitchfold"):
        shutil.move(folder, f"undisturbed-{folder}")
    monkeypatch.setenv("STITCHFOLD_FAILPOINT", "step:11")  # in the second epoch of the second fold
    failpoints.hits.clear()
    _, status = os.waitpid(begin_in_child(lambda: run(**EVERY_STEP)), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    monkeypatch.delenv("STITCHFOLD_FAILPOINT")
    [state] = [load_file(path) for path in sorted(Path(".stitchfold").rglob("step-*/tensors.safetensors"))[-1:]]
    parts = {name.split("/")[1] for name in state}
    assert {"weights", "optimizer", "hooks", "best"} <= parts, "an average, the best epoch and the optimizer's state"
    assert not [name for name in state if "base_layer" in name or "embed_tokens" in name]
    n_learning = sum(tensor.numel() for tensor in expected[next(iter(expected))].values())
    assert sum(tensor.numel() for name, tensor in state.items() if name.startswith("/hooks")) <= n_learning
    resumed = run(**EVERY_STEP)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[fold][name], tensor) for fold, of in expected.items() for name, tensor in of.items())


def test_I4_a_base_that_is_gone_or_another_one_is_told_by_whoever_needs_it(base: Path) -> None:
    """A fold's adapter over a missing or another base is refused when loaded, and verify names each fold that has it."""
    [fold, _] = run(epochs=1)
    assert [checked.problem for checked in check_fold_models()] == [None] * 4
    shutil.move(base, "elsewhere")
    checkpoint(base, n_layers=1)
    message = r"must have the base that its adapter was trained on \(models/base, fp32, digest \w{12}…\), got "
    for got in (r"one of digest \w{12}…", r"none \(source: models/base is missing"):
        with pytest.raises(MachineError, match=f"{fold}: {message}{got}.* Put that checkpoint back") as caught:
            load_classifier(fold)
        assert caught.value.code == "E402"
        problems = [checked.text for checked in check_fold_models() if checked.problem]
        assert len(problems) == 2 and "must have the base" in problems[0]
        shutil.rmtree(base, ignore_errors=True)
    shutil.move("elsewhere", base)
    load_classifier(fold)


@pytest.mark.parametrize("given", [{"sharing": "hard", "further": {"epochs": 1}}, {"sharing": "soft"}], ids=str)
def test_one_model_of_several_tasks_has_an_adapter_too(base: Path, given: dict[str, Any]) -> None:
    kept = run(two_tasks(), epochs=1, **given)
    assert {path.name for path in kept} == {f"{task}-r0-f{fold}" for task in TASKS for fold in (0, 1)}
    for fold, tensors in kept.items():
        assert {name.split(".")[0] for name in tensors} == {"backbone", "readout"}
        assert not [name for name in tensors if "base_layer" in name]
        load_classifier(fold)
