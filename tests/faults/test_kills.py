"""Killed at any moment, a run goes on where it was and ends in the same bytes; `make test-faults` tries many moments."""

import re
from pathlib import Path

from pipeline.errors import failpoints
from tests.conftest import ROOT
from tests.faults import harness, kills
from tests.faults.durability import not_durable
from tests.faults.kills import Reference


def test_F1_I1_I3_killed_at_every_named_point_in_turn_the_results_are_the_same_bytes(
    tmp_path: Path, undisturbed: Path, reference: Reference
) -> None:
    """SIGKILL in writing, checkpointing, publishing, predicting, stacking or submitting loses no finished unit and no bit."""
    points = [f"{name}:1" for name in reference.passages]
    trial = kills.killed_at(harness.make_after_recipes(tmp_path / "run", undisturbed), points, reference)
    assert not trial.lost and trial.points == tuple(points)
    assert re.search(
        r"resumed at step \d+ of \d+ \(\d+ %\)", (tmp_path / "run" / harness.LOG).read_text(encoding="utf-8")
    )


def test_F1_I1_killed_after_random_times_the_results_are_the_same_bytes(tmp_path: Path, reference: Reference) -> None:
    """SIGKILL at any instant, several times in one run, loses no finished unit and no bit."""
    trial = kills.killed_at_random(tmp_path, "test", reference, n_kills=3)
    assert not trial.lost


def test_F21_I3_what_gets_its_name_is_on_the_disk_before(undisturbed: Path, reference: Reference) -> None:
    """In a whole run each file is synced before it is renamed, and its folder after: a power cut leaves whole or nothing."""
    assert not not_durable(undisturbed)


def test_every_named_point_is_passed_in_a_run(reference: Reference) -> None:
    code = [path.read_text(encoding="utf-8") for kind in ("pipeline", "stages") for path in (ROOT / kind).rglob("*.py")]
    named = {name for text in code for name in re.findall(r'^\s+failpoint\("(.+?)"\)', text, re.MULTILINE)}
    assert named == set(reference.passages)


def test_a_point_costs_nothing_when_nobody_asks(monkeypatch) -> None:
    monkeypatch.delenv("STITCHFOLD_FAILPOINT", raising=False)
    before = failpoints.hits.total()
    failpoints.failpoint("step")
    assert failpoints.hits.total() == before
