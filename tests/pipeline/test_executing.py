"""Units: found again, written by one, retried when a worker dies, the same with any number of workers."""

import os
import signal
import time
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from pipeline import executing
from pipeline.exceptions import DataError, MachineError
from pipeline.executing import Unit, Workspace, run_units
from pipeline.params import Run


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # workers that live on would write into the folder of another test


def write(workspace: Workspace, *, value: str) -> None:
    (workspace.result / "value.txt").write_text(value, encoding="utf-8")
    with Path("log.txt").open("a", encoding="utf-8") as log:
        log.write(value + "\n")


def write_slowly(workspace: Workspace, *, value: str) -> None:
    time.sleep(1)
    write(workspace, value=value)


def die_once(workspace: Workspace, *, value: str) -> None:
    mark = Path(f"died-{value}")
    if value == "1" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write(workspace, value=value)


def die(workspace: Workspace, *, value: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(workspace: Workspace, *, value: str) -> None:
    if value == "1":
        raise DataError("rows: must be many, got none. Add some.")
    write(workspace, value=value)


def jobs(work, n: int = 3) -> list:
    return [(Unit(f"unit {i}", {"n": i}), work, {"value": str(i)}) for i in range(n)]


def run(n_workers: int = 1, **changes) -> Run:
    return Run.model_validate({"n_workers": n_workers, "device": "cpu", **changes})


def computed() -> list[str]:
    return sorted(Path("log.txt").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_finished_unit_is_never_computed_again(n_workers: int) -> None:
    run_units(jobs(write, 2), run=run(n_workers), stage="s")
    run_units(jobs(write, 3), run=run(n_workers), stage="s")
    assert computed() == ["0", "1", "2"]


def test_a_damaged_result_is_set_aside_and_computed_again() -> None:
    run_units(jobs(write, 1), run=run(), stage="s")
    unit = jobs(write, 1)[0][0]
    (unit.result / "value.txt").write_text("spoilt", encoding="utf-8")
    run_units(jobs(write, 1), run=run(), stage="s")
    assert (unit.result / "value.txt").read_text(encoding="utf-8") == "0"
    assert list(unit.folder.glob("result.corrupt-*"))


def test_the_key_depends_on_what_the_result_depends_on_and_not_on_the_name() -> None:
    assert Unit("a", {"n": 1}).key == Unit("b", {"n": 1}).key != Unit("a", {"n": 2}).key


def test_a_dead_worker_costs_its_unit_one_more_try() -> None:
    run_units(jobs(die_once), run=run(2), stage="s")
    assert set(computed()) == {"0", "1", "2"}


def test_a_worker_that_always_dies_ends_after_the_retries() -> None:
    with pytest.raises(MachineError, match="a worker process died 2 times"):
        run_units(jobs(die, 2), run=run(2, max_retries=1), stage="s")


def test_one_failing_unit_lets_the_others_finish_and_is_named() -> None:
    with pytest.raises(DataError, match="unit 1: rows: must be many"):
        run_units(jobs(fail), run=run(), stage="s")
    assert computed() == ["0", "2"]


def test_a_second_writer_waits_and_takes_the_firsts_result() -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            run_units(jobs(write_slowly, 1), run=run(), stage="s")
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert computed() == ["0"]


def test_linked_files_lie_on_disk_once(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x", encoding="utf-8")
    executing.link_folder(tmp_path / "a", tmp_path / "b")
    executing.link_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "x").samefile(tmp_path / "b" / "x")
