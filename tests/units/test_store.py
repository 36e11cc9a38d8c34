"""The unit store under any order of runs, kills, damage, full disks, second writers and changed params."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.errors.exceptions import PipelineError
from pipeline.params.root import Run
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.children import begin_in_child

RUN = Run.model_validate({"backend": "sequential", "n_workers": 1, "device": "cpu"})
RATES = st.sampled_from([1, 2, 3])
FILES = ("weights.bin", "history.json")


class Killed(Exception):
    """What ends a unit in the middle of its work."""


def reference(rate: int) -> dict[str, bytes]:
    return {name: f"{name} of rate {rate}\n".encode() * 50 for name in FILES}


def work(workspace: Workspace, *, rate: int, killed_after: int | None) -> None:
    for number, (name, content) in enumerate(reference(rate).items()):
        if number == killed_after:
            (workspace.result / name).write_bytes(content[:7])
            raise Killed
        (workspace.result / name).write_bytes(content)


class UnitStore(RuleBasedStateMachine):
    """A unit whose key is a rate; its result is the reference or absent."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.folder = Path.cwd(), Path(tempfile.mkdtemp())
        os.chdir(self.folder)
        self.rate = 1

    def teardown(self) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.folder)

    def unit(self, rate: int) -> Unit:
        return Unit(f"rate {rate}", {"rate": rate})

    def attempt(self, killed_after: int | None = None) -> None:
        arguments = {"rate": self.rate, "killed_after": killed_after}
        run_units([(self.unit(self.rate), work, arguments)], run=RUN, stage=Stage("states"))

    @rule(rate=RATES)
    def change_param(self, rate: int) -> None:
        self.rate = rate

    @rule()
    def start(self) -> None:
        self.attempt()
        assert self.unit(self.rate).is_finished()

    @rule(after=st.sampled_from([0, 1]))
    def kill(self, after: int) -> None:
        finished = self.unit(self.rate).is_finished()
        try:
            self.attempt(killed_after=after)
        except (Killed, PipelineError):
            assert not finished
        else:
            assert finished  # nothing was left to do

    @rule(rate=RATES, name=st.sampled_from(FILES), how=st.sampled_from(["flip", "cut", "empty", "remove"]))
    def corrupt(self, rate: int, name: str, how: str) -> None:
        path = self.unit(rate).result / name
        if path.exists():
            content = path.read_bytes()
            path.unlink()
            if how != "remove":
                kept = {"flip": content[:-1] + b"\0", "cut": content[:-9], "empty": b""}[how]
                path.write_bytes(kept)

    @rule()
    def fill_the_disk(self) -> None:
        finished = self.unit(self.rate).is_finished()
        with patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            try:
                self.attempt()
            except (OSError, PipelineError):
                assert self.unit(self.rate).is_finished() == finished

    @rule()
    def second_writer(self) -> None:
        child = begin_in_child(self.attempt)
        self.attempt()
        assert os.waitpid(child, 0)[1] == 0

    @invariant()
    def published_is_the_reference_or_absent(self) -> None:
        for rate in (1, 2, 3):
            unit = self.unit(rate)
            if unit.is_finished():
                assert {name: (unit.result / name).read_bytes() for name in FILES} == reference(rate)


UnitStore.TestCase.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)


class TestUnits(UnitStore.TestCase):
    def test_H5_I3_I5_a_published_result_is_the_reference_or_absent(self) -> None:
        """After any order of runs, kills, damage, full disks, other params and second writers: the reference, or nothing."""
        super().runTest()

    runTest = None
