"""A disk that is full: every writer says so with a code, removes what it began, and keeps what was there before."""

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.artifacts.files import write_bytes
from pipeline.artifacts.paths import TABLE, predictions_path
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.errors.exceptions import MachineError, as_pipeline_error, is_disk_error
from pipeline.models.classifier import save_classifier
from pipeline.params.root import Run
from pipeline.units.checkpoints import Checkpoints
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.small import TEXTS, encoder

LIMIT = 40_000  # bytes that a file may have
BIG = 200_000


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def checkpoint() -> None:
    checkpoints = Checkpoints(Path("checkpoints"))
    state = checkpoints.load() or {"weights": torch.zeros(10), "step": 1}
    checkpoints.save(int(state["step"]) + 1, {**state, "weights": torch.zeros(BIG)})


def artifact() -> None:
    write_bytes(TABLE, os.urandom(BIG))


def predictions() -> None:
    rows = pd.DataFrame(
        {"row_id": [str(i) for i in range(20_000)], "task": "t", "split": "test", "repeat": 0, "fold": 0}
    )
    logits = np.random.default_rng(0).normal(size=(20_000, 2))
    value = Predictions("bert", "t", ["a", "b"], rows, logits, "m", "r", 0)
    write_predictions(value, predictions_path("finetune", "bert", "t"))


def model(workspace: Workspace) -> None:
    from pipeline.models.classifier import build_classifier

    settings = encoder(hidden_size=64)
    parts = settings.source.build(texts=TEXTS, max_length=16, seed=0)
    built = build_classifier(parts, pooling=settings.pooling, head=settings.head, n_outputs=2, seed=0)
    save_classifier(built, parts.tokenizer, workspace.result, source="from_config")


def unit() -> None:
    run = Run(backend="sequential", n_workers=1, device="cpu")
    run_units([(Unit("bert/f0", {"n": 1}), model, {})], run=run, stage=Stage("s"))


def code_under_limit(write: Callable[[], None]) -> str:
    """Return the code of the error that a writer raises in a process whose files may have LIMIT bytes."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        try:
            write()
            os.write(writer, b"written")
        except Exception as error:
            known = as_pipeline_error(error)
            os.write(writer, f"{known.code} {known}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.wait()
    return said


@pytest.mark.parametrize("write", [checkpoint, artifact, predictions, unit])
def test_F7_a_full_disk_has_a_code_and_leaves_nothing_half_written(write: Callable[[], None]) -> None:
    """A full disk stops with E401, the path and the free space; what was begun is removed, what was there is kept."""
    Checkpoints(Path("checkpoints")).save(1, {"weights": torch.zeros(10), "step": 1})
    before = Checkpoints(Path("checkpoints")).load()
    said = code_under_limit(write)
    assert said.startswith("E401 ") and "free " in said and "run dvc repro again" in said, said
    left = [
        path for path in Path().rglob("*") if path.is_file() and path.name not in {"lock", "unit.json", "failed.json"}
    ]
    assert {path.parts[0] for path in left} == {"checkpoints"}, left
    kept = Checkpoints(Path("checkpoints")).load()
    assert before is not None and kept is not None and kept["step"] == before["step"] == 1
    assert not list(Path("checkpoints").glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_F7_no_space_left_is_recognised_from_the_system_and_from_libraries() -> None:
    """ENOSPC is told apart from a program's fault, whoever reports it."""
    with pytest.raises(OSError, match="No space left") as caught, open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")
    assert caught.value.errno == errno.ENOSPC and is_disk_error(caught.value)
    known = as_pipeline_error(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert isinstance(known, MachineError) and known.code == "E401"


def test_F7_a_full_dev_shm_is_named_and_not_the_disk_that_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that names no file is about the place with the least free space, /dev/shm of a container for one."""
    free = {"/dev/shm": 4096}
    monkeypatch.setattr("os.path.isdir", lambda path: True)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free.get(str(path), 75e9)))
    error = as_pipeline_error(OSError(28, "No space left on device"))
    assert str(error).startswith("/dev/shm: cannot be written") and "free 0.00 GB" in str(error)
    assert "--shm-size" in str(error) and error.code == "E401"
    assert str(as_pipeline_error(OSError(13, "Permission denied"))).startswith(".: cannot be written")
