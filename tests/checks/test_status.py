"""The table of the work: what is done, running, interrupted and failed, and the time left."""

import fcntl
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pipeline import cli
from pipeline.checks.status import read_status
from pipeline.checks.torn_files import torn_lines
from pipeline.errors.exceptions import DataError
from pipeline.params.root import Run
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import Stage
from pipeline.units.store import if_free, stored_units
from pipeline.units.unit import Unit

RUN = Run(backend="sequential", n_workers=1, device="cpu")
PARAMS = "competition: tiny\nseed: 1\ntasks: {}\nfolds: {}\nencoders: {bert: {}, electra: {rate: 1}}\n"


def write(workspace: Workspace) -> None:
    (workspace.result / "x").write_bytes(b"x" * 50_000)


def fail(workspace: Workspace) -> None:
    raise DataError("rows: must be many, got none. Add some.", code="E300")


def stop(workspace: Workspace) -> None:
    workspace.progress(step=40, n_steps=50)
    workspace.checkpoints.save(40, {"x": torch.zeros(1)})
    raise SystemExit  # as a kill: no note of a failure


def unit(name: str, **depends_on: str) -> Unit:
    return Unit(name, {"step": "finetune", "name": name, **depends_on})


@pytest.fixture(autouse=True)
def _a_store(tmp_path, monkeypatch) -> None:
    """Stage finetune-bert was stopped in its third unit; the second had failed; finetune-electra ran under two rates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "some")
    Path("params.yaml").write_text(PARAMS.replace("rate: 1", "rate: 2"), encoding="utf-8")
    run_units([(unit("electra/f0", rate="2"), write, {})], run=RUN, stage=Stage("finetune", model="electra"))
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    run_units([(unit("electra/f0", rate="1"), write, {})], run=RUN, stage=Stage("finetune", model="electra"))
    works = {"bert/f0": write, "bert/f1": fail, "bert/f2": stop, "bert/f3": write}
    with pytest.raises(SystemExit):
        run_units(
            [(unit(name), work, {}) for name, work in works.items()], run=RUN, stage=Stage("finetune", model="bert")
        )


def test_each_stage_has_a_row_and_each_open_unit_a_line() -> None:
    lines = CliRunner().invoke(cli.app, ["status"]).output.splitlines()
    assert [line.split()[:6] for line in lines[1:3]] == [
        ["finetune-electra", "1", "1", "0", "0", "0"],
        ["finetune-bert", "4", "1", "0", "1", "1"],
    ]
    assert lines[3] == "  bert/f1: failed, E300 bert/f1: rows: must be many, got none. Add some."
    assert lines[4] == "  bert/f2: interrupted at step 40 of 50 (80%)"
    assert "2 finished units serve today's params.yaml; 1 (50." in lines[5]


def test_a_running_unit_tells_the_time_that_it_and_its_stage_still_take() -> None:
    running = unit("bert/f2")
    noted = {"step": 45, "n_steps": 50, "seconds_per_step": 12.0}
    (running.folder / "progress.json").write_text(json.dumps(noted), encoding="utf-8")
    with (running.folder / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status = read_status()
        lines = list(status.lines())
    (stage,) = [row for row in status.stages if row.stage == "finetune-bert"]
    assert (stage.finished, stage.running, stage.interrupted, stage.failed) == (1, 1, 0, 1)
    assert stage.seconds_left == 60 + 2 * 600, "two more units as long as this one"
    assert "  bert/f2: running at step 45 of 50 (90%), 1 min 00 s left" in lines


def test_json_says_the_same() -> None:
    record = json.loads(CliRunner().invoke(cli.app, ["status", "--json"]).output)
    assert record["n_needed"] == 2 and record["n_other"] == 1
    assert [unit["state"] for unit in record["units"]] == ["failed", "interrupted"]


def test_before_the_first_run_there_is_an_empty_table(tmp_path, monkeypatch) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    assert read_status().stages == [] and read_status().n_bytes == 0


def test_a_unit_locked_by_a_file_counts_as_running() -> None:
    folder = next(unit.folder for unit in stored_units() if unit.state == "interrupted")
    from filelock import SoftFileLock

    with SoftFileLock(folder / "lock.o_excl"), if_free(folder) as free:
        assert not free
    with if_free(folder) as free:
        assert free


def test_F6_a_torn_dvc_lock_is_told_where_people_look(tmp_path, monkeypatch) -> None:
    """`check` and `status` say, without DVC, that a kill left dvc.lock or rwlock torn, and what mends it."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc/tmp").mkdir(parents=True)
    Path("dvc.lock").write_bytes(b"schema: '2.0'\n")
    Path(".dvc/tmp/rwlock").write_bytes(b'{"write": {}}')
    assert list(torn_lines()) == []
    Path("dvc.lock").write_bytes(b"schema: '2.0'\nstages:\n  rec")
    Path(".dvc/tmp/rwlock").write_bytes(b"")
    assert [line.partition(":")[0] for line in torn_lines()] == ["dvc.lock", ".dvc/tmp/rwlock"]
    assert all("stitchfold doctor --fix" in line for line in torn_lines())
