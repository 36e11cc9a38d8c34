"""Kills: a run is ended by SIGKILL at named points or after random times, and goes on to the end of a run that was not."""

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import harness

MEAN_SECONDS = 1.0  # between two random kills


@dataclass(frozen=True)
class Reference:
    """What a run that nobody disturbed left: digests of its results, and how often each named point was passed, in order."""

    results: dict[str, str]
    passages: dict[str, int]


@dataclass(frozen=True)
class Trial:
    """A run, the points at which it was killed, and what was lost, if anything."""

    points: tuple[str, ...]
    lost: tuple[str, ...]
    seconds: float


def undisturbed(folder: Path, *, patch: Callable[[], object] | None = None) -> Reference:
    """Run a competition in a folder to its end, after calling `patch` in its process."""
    harness.finish(harness.make(folder), failpoint="count", patch=patch)
    passages = json.loads((folder / harness.HITS).read_text(encoding="utf-8"))
    return Reference(harness.results(folder), passages)


def hits(passages: int) -> list[int]:
    """Return the passages of a point to die at: the first, one in the middle, the last.

    >>> hits(1), hits(2), hits(181)
    ([1], [1, 2], [1, 91, 181])
    """
    return sorted({1, (passages + 1) // 2, passages})


def killed_at(folder: Path, points: Iterable[str], reference: Reference) -> Trial:
    """Kill a project's run at each of the points in turn, each time going on from what the last one left, then end it."""
    begun = time.monotonic()
    died: list[str] = []
    lost: list[str] = []
    for point in points:
        before = harness.finished_units(folder)
        process = harness.start(folder, failpoint=point)
        process.join()
        if process.exitcode != -9:
            lost.append(f"{point}: exit code {process.exitcode} instead of a kill")
            break
        died.append(point)
        lost += computed_twice(folder, before)
    lost += ended_otherwise(folder, reference)
    return Trial(tuple(died), tuple(lost), time.monotonic() - begun)


def killed_at_random(folder: Path, seed: str, reference: Reference, *, n_kills: int) -> Trial:
    """Kill runs after random times, each again and again until it ends before the next kill, n times in all."""
    begun = time.monotonic()
    generator = random.Random(seed)
    points: list[str] = []
    lost: list[str] = []
    while len(points) < n_kills:
        run = harness.make(folder / str(len(points)))
        while len(points) < n_kills:
            before = harness.finished_units(run)
            process = harness.start(run)
            seconds = generator.expovariate(1 / MEAN_SECONDS)
            process.join(seconds)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            points.append(f"after {seconds:.2f} s")
            lost += computed_twice(run, before)
        lost += ended_otherwise(run, reference)
    return Trial(tuple(points), tuple(lost), time.monotonic() - begun)


def computed_twice(folder: Path, before: dict[str, tuple[str, int, int]]) -> list[str]:
    """Return a line for each unit that was finished before and is now missing or another one."""
    now = harness.finished_units(folder)
    return [f"{kept[0]} was computed twice" for key, kept in before.items() if now.get(key) != kept]


def ended_otherwise(folder: Path, reference: Reference) -> list[str]:
    """Let a run end, and return a line for everything that is not as if nobody had disturbed it."""
    before = harness.finished_units(folder)
    harness.finish(folder)
    return [*computed_twice(folder, before), *harness.differences(folder, reference.results)]
