"""Units: found again, written by one, retried when a worker dies, the same with any number of workers."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from joblib.externals.loky import get_reusable_executor

from pipeline.errors.exceptions import DataError, InterruptedRun, MachineError
from pipeline.params.root import Run
from pipeline.reproducibility import numerics
from pipeline.stage_run import exit_on_error
from pipeline.units import hang_watch, unit
from pipeline.units.differences import differences
from pipeline.units.execution import run_units
from pipeline.units.hang_watch import HangWatch
from pipeline.units.locks import Writer, one_writer
from pipeline.units.processes import ProcessIdentity, identity
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.children import begin_in_child
from tests.conftest import HANG_SECONDS, ROOT
from tests.units.works import (
    die_beside,
    die_of_one,
    die_once,
    fail,
    hang_once,
    step_by_step,
    stop_before_the_first_step,
    write,
    write_slowly,
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # workers that live on would write into the folder of another test


def jobs(work, n: int = 3) -> list:
    return [(Unit(f"unit {i}", {"n": i}), work, {"value": str(i)}) for i in range(n)]


def run(n_workers: int = 1, **changes) -> Run:
    return Run.model_validate({"n_workers": n_workers, "device": "cpu", **changes})


def computed() -> list[str]:
    return sorted(Path("log.txt").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_finished_unit_is_never_computed_again(n_workers: int) -> None:
    run_units(jobs(write, 2), run=run(n_workers), stage=Stage("s"))
    run_units(jobs(write, 3), run=run(n_workers), stage=Stage("s"))
    assert computed() == ["0", "1", "2"]


def test_arguments_are_asked_for_when_it_is_the_units_turn() -> None:
    """Rows of waiting units would fill the memory; those of finished units are not asked for at all."""

    def asked(value: str) -> dict[str, str]:
        with Path("log.txt").open("a", encoding="utf-8") as log:
            log.write(f"asked {value}\n")
        return {"value": value}

    run_units(jobs(write, 1), run=run(), stage=Stage("s"))
    lazy = [(unit, work, partial(asked, **arguments)) for unit, work, arguments in jobs(write, 4)]
    run_units(lazy, run=run(), stage=Stage("s"))
    lines = Path("log.txt").read_text(encoding="utf-8").split("\n")
    assert lines[:4] == ["0", "asked 1", "1", "asked 2"] and "asked 0" not in lines


def test_a_damaged_result_is_set_aside_and_computed_again() -> None:
    run_units(jobs(write, 1), run=run(), stage=Stage("s"))
    unit = jobs(write, 1)[0][0]
    (unit.result / "value.txt").write_text("spoilt", encoding="utf-8")
    run_units(jobs(write, 1), run=run(), stage=Stage("s"))
    assert (unit.result / "value.txt").read_text(encoding="utf-8") == "0"
    assert list(unit.folder.glob("result.corrupt-*"))


def test_I5_the_key_depends_on_what_the_result_depends_on_and_not_on_the_name() -> None:
    """A unit's key is a digest of all that its result depends on: a changed key never resumes old state."""
    assert Unit("a", {"n": 1}).key == Unit("b", {"n": 1}).key != Unit("a", {"n": 2}).key


def test_F14_a_dead_worker_costs_its_unit_one_more_try() -> None:
    """A unit whose worker is killed, by the system's OOM killer for one, is tried again with nothing beside it."""
    run_units(jobs(die_once), run=run(2), stage=Stage("s"))
    assert set(computed()) == {"0", "1", "2"}


def test_F14_a_unit_that_kills_every_worker_fails_by_name_and_the_others_finish() -> None:
    """After `max_retries` a unit is given up with E405, exit code 4 and a note for `status`; all others are finished."""
    with pytest.raises(MachineError, match="unit 1: its worker process died 2 times") as caught:
        run_units(jobs(die_of_one, 4), run=run(2, max_retries=1), stage=Stage("s"))
    assert (caught.value.code, caught.value.exit_code) == ("E405", 4)
    assert set(computed()) == {"0", "2", "3"}
    unit = [job[0] for job in jobs(die_of_one, 4)]
    failed = [unit.name for unit in unit if (unit.folder / "failed.json").exists()]
    assert failed == ["unit 1"]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_F16_a_unit_that_takes_no_step_any_more_is_ended_and_tried_again(n_workers: int) -> None:
    """A unit that hangs is ended after `run.hang_seconds` with E404; a worker's is tried again, the stage's own exits 4."""

    def work() -> None:
        with exit_on_error():
            run_units(jobs(hang_once, 2), run=run(n_workers, hang_seconds=2.0), stage=Stage("s"))

    def attempt() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(begin_in_child(work), 0)[1])

    if n_workers == 1:  # nobody is left to try again but the next dvc repro
        assert attempt() == 4
        assert json.loads(Path("out/last_error.json").read_text(encoding="utf-8"))["code"] == "E404"
    assert attempt() == 0
    assert set(computed()) == {"0", "1"}


def test_F16_a_worker_stopped_before_its_first_step_is_ended() -> None:
    """The watch begins with the unit: a worker that is stopped before it took a step is ended, and its unit tried again."""
    run_units(jobs(stop_before_the_first_step, 2), run=run(2, hang_seconds=2.0), stage=Stage("s"))
    assert set(computed()) == {"0", "1"}


def test_F16_before_the_first_step_what_takes_cpu_time_does_not_hang() -> None:
    """Where no step is due, as while a tokenizer is trained, only a process that takes no CPU time hangs."""
    watch, silent = HangWatch([], hang_seconds=2.0), {}
    children = {"idle": ["sleep", str(HANG_SECONDS)], "busy": [sys.executable, "-c", "while True: pass"]}
    processes = {name: subprocess.Popen(command) for name, command in children.items()}
    try:
        for name, child in processes.items():
            unit, writer = Unit(name, {"name": name}), identity(child.pid)
            assert writer is not None and not watch.hangs(unit, Writer(writer, writer, "12:00:00"))
            begun = writer.cpu_seconds()
            while name == "busy" and writer.cpu_seconds() < begun + 0.1:
                time.sleep(0.01)
            watch.awake += 1000
            silent[name] = watch.hangs(unit, Writer(writer, writer, "12:00:00"))
    finally:
        for child in processes.values():
            child.kill()
    assert silent == {"idle": True, "busy": False}


@pytest.mark.parametrize("whose", ["nobody holds the lock", "another container", "a run before"])
def test_F16_a_process_that_only_has_the_number_of_a_dead_writer_is_not_killed(whose: str) -> None:
    """A number in a lock's note counts only while the lock is held, for a process that this run itself started."""
    innocent = subprocess.Popen(["sleep", str(HANG_SECONDS)])
    try:
        unit, writer = Unit("unit 0", {"n": 0}), identity(innocent.pid)
        assert writer is not None
        process = replace(writer, boot="before the power cut") if whose == "another container" else writer
        stage = identity() if whose == "nobody holds the lock" else replace(writer, started="0")
        unit.folder.mkdir(parents=True)
        (unit.folder / "lock").write_text(json.dumps(asdict(Writer(process, stage, "12:00:00"))), encoding="utf-8")
        (unit.folder / "progress.json").write_text('{"step": 3, "n_steps": 9, "seconds_per_step": 0.0}')
        watch = HangWatch([unit], hang_seconds=0.001)
        for _ in range(4):
            time.sleep(0.01)
            watch.look()
        assert innocent.poll() is None and not watch.ended
    finally:
        innocent.kill()


def test_F16_a_run_that_was_stopped_itself_ends_no_worker_when_it_goes_on(monkeypatch) -> None:
    """After Ctrl-Z or in a container that was frozen the time in which nobody could work is no silence."""
    unit, clock = Unit("unit 0", {"n": 0}), [0.0]
    monkeypatch.setattr(hang_watch, "time", SimpleNamespace(monotonic=lambda: clock[-1]))
    monkeypatch.setattr(HangWatch, "_end", lambda *_: pytest.fail("ended"))
    watch = HangWatch([unit], hang_seconds=1800)
    unit.folder.mkdir(parents=True)
    (unit.folder / "progress.json").write_text('{"step": 3, "n_steps": 9, "seconds_per_step": 0.0}')
    with one_writer(unit.folder, name="unit 0"):
        for now in (60.0, 120.0, 9000.0, 9060.0):
            clock.append(now)
            watch.look()


def test_F14_the_death_of_a_worker_is_not_laid_to_a_unit_that_an_earlier_run_left() -> None:
    """The note of a writer that died in an earlier run says nothing about who was at work when a worker died in this one."""
    left = jobs(die_of_one, 3)[2][0]
    left.folder.mkdir(parents=True)
    gone = ProcessIdentity(pid=2**22 + 1, started="1", boot="earlier")
    (left.folder / "lock").write_text(json.dumps(asdict(Writer(gone, gone, "12:00:00"))), encoding="utf-8")
    with pytest.raises(MachineError, match="unit 1: its worker process died [12] times"):
        run_units(jobs(die_of_one, 3), run=run(2, max_retries=0), stage=Stage("s"))
    assert not (left.folder / "failed.json").exists() and set(computed()) == {"0", "2"}


def test_F14_a_death_beside_another_unit_fails_neither_before_each_was_tried_alone() -> None:
    """With no retries at all, a unit that was at work when its neighbour's worker died is computed all the same."""
    with pytest.raises(MachineError, match="unit 1: its worker process died 2 times"):
        run_units(jobs(die_beside, 2), run=run(2, max_retries=0), stage=Stage("s"))
    assert computed() == ["0"]


def test_one_failing_unit_lets_the_others_finish_and_is_named() -> None:
    with pytest.raises(DataError, match="unit 1: rows: must be many"):
        run_units(jobs(fail), run=run(), stage=Stage("s"))
    assert computed() == ["0", "2"]


@pytest.mark.parametrize("how", ["flock", "o_excl"])
def test_F4_F11_a_second_writer_waits_and_takes_the_firsts_result(how: str) -> None:
    """A unit has one writer, by flock or where there is none by `run.lock: o_excl`; a second one waits for its result."""
    work = partial(run_units, jobs(write_slowly, 1), run=run(lock=how), stage=Stage("s"))
    children = [begin_in_child(work) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert computed() == ["0"]


@pytest.mark.parametrize("how", ["flock", "o_excl"])
def test_F11_the_lock_of_a_killed_writer_holds_nobody_up(how: str) -> None:
    """The lock of a process that was killed is free at once."""
    child = begin_in_child(partial(run_units, jobs(die_once, 2), run=run(lock=how), stage=Stage("s")))
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    run_units(jobs(die_once, 2), run=run(lock=how), stage=Stage("s"))
    assert computed() == ["0", "1"]


def test_F11_a_filesystem_without_locks_is_named_with_the_way_out(monkeypatch) -> None:
    """Where flock fails the unit stops with E406 and names `run.lock: o_excl`."""

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pipeline.units.locks.fcntl.flock", no_locks)
    with pytest.raises(MachineError, match=r"unit 0: .*can lock.*Set run.lock: o_excl") as caught:
        run_units(jobs(write, 1), run=run(), stage=Stage("s"))
    assert caught.value.code == "E406"
    run_units(jobs(write, 1), run=run(lock="o_excl"), stage=Stage("s"))


def test_F11_a_read_only_store_is_named(monkeypatch) -> None:
    """A store that cannot be written stops with E401, the path and the space that is free."""

    def read_only(self: Path, *args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(MachineError, match=r"units/.*cannot be written.*Read-only.*free \d+.*permissions") as caught:
        run_units(jobs(write, 1), run=run(), stage=Stage("s"))
    assert caught.value.code == "E401"


def test_F19_params_changed_and_changed_back_go_on_from_the_old_checkpoint() -> None:
    """A changed param starts afresh under another key; changed back, the interrupted unit goes on where it stopped."""
    first, other = ([(Unit("bert/f0", {"rate": rate}), step_by_step, {"value": str(rate)})] for rate in (1, 2))
    for job in (first, other):
        with pytest.raises(InterruptedRun):
            run_units(job, run=run(), stage=Stage("s"))
    Path("go-on").touch()
    run_units(first, run=run(), stage=Stage("s"))
    assert computed() == sorted(["1:1", "2:1", "1:2", "1:3", "1"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"learning_rate": 0.5}}, r"settings.learning_rate: 0.1 → 0.5$"),
        (
            {"code": {"pipeline.training.losses.focal:build": "bb"}},
            r"code.pipeline.training.losses.focal:build: \"aa\" → \"bb\"$",
        ),
    ],
    ids=["F19 params", "F20 code"],
)
def test_F19_F20_a_unit_that_starts_afresh_says_what_was_changed(caplog, change: dict, said: str) -> None:
    """After an edit of params or code a unit starts afresh, and the log names the key or the definition."""
    caplog.set_level("INFO")
    described = {"settings": {"learning_rate": 0.1}, "code": {"pipeline.training.losses.focal:build": "aa"}}
    run_units([(Unit("bert/f0", {"recipe": "a"}, described), write, {"value": "0"})], run=run(), stage=Stage("s"))
    run_units(
        [(Unit("bert/f0", {"recipe": "b"}, described | change), write, {"value": "1"})], run=run(), stage=Stage("s")
    )
    assert re.search("bert/f0: computed anew: " + said, caplog.text, re.MULTILINE)


def test_I20_the_numerics_class_names_device_threads_and_versions() -> None:
    """What decides the bits besides code, params, data and seed is part of every key and of the record of every model."""
    single, double = numerics("cpu", 1), numerics("cpu", 2)
    assert {"device", "threads", "torch", "transformers", "numpy"} <= set(single) and single["device"] == "cpu"
    assert Unit("a", {"numerics": single}).key != Unit("a", {"numerics": double}).key


def test_I20_the_instructions_that_the_cpu_is_told_to_use_are_in_the_key() -> None:
    """Under `ATEN_CPU_CAPABILITY` or its like for other libraries a unit has another key: its last bits differ."""
    code = "from pipeline.reproducibility import numerics; import json; print(json.dumps(numerics('cpu', 1)))"
    told: list[dict[str, str]] = [{}, {"ATEN_CPU_CAPABILITY": "default"}, {"MKL_CBWR": "COMPATIBLE"}]
    classes = [
        json.loads(subprocess.check_output([sys.executable, "-c", code], env=os.environ | more, cwd=ROOT))
        for more in told
    ]
    assert len({Unit("a", {"numerics": numerics_class}).key for numerics_class in classes}) == 3
    shown = list(differences({"numerics": classes[0]}, {"numerics": classes[1]}))
    assert shown[0].startswith("numerics.instructions.")


def test_F18_another_class_of_machine_warns_and_strict_refuses(caplog) -> None:
    """Other threads, devices or versions than before warn that bits will differ; `run.strict` refuses with E408."""
    single, double = (
        [(Unit("bert/f0", {"recipe": "a", "numerics": {"threads": n}}), write, {"value": str(n)})] for n in (1, 2)
    )
    run_units(single, run=run(), stage=Stage("s"))
    with pytest.raises(MachineError, match=r"numerics.threads: 1 → 2.*run.strict: false") as caught:
        run_units(double, run=run(strict=True), stage=Stage("s"))
    assert caught.value.code == "E408"
    run_units(double, run=run(), stage=Stage("s"))
    assert "will not be bit-equal" in caplog.text


def test_linked_files_lie_on_disk_once(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x", encoding="utf-8")
    unit.link_folder(tmp_path / "a", tmp_path / "b")
    unit.link_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "x").samefile(tmp_path / "b" / "x")
