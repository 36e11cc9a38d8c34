"""All faults, as `make test-faults` runs them: tables of what was tried and what was survived; exit code 1 on any loss."""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from tqdm import tqdm

from tests.faults import concurrency, corruption, corruption_under_dvc, harness, kills
from tests.faults.kills import Trial

KILLS_PER_TASK = 20


@dataclass(frozen=True)
class Task:
    """Something to try in a folder of its own, and the row of the table in which it counts."""

    row: str
    attempt: Callable[[Path], Trial]


Part = Callable[[Path, argparse.Namespace], Iterator[Task]]


def main() -> None:
    """Run the parts named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--kills", type=int, default=200, help="how many random kills")
    parser.add_argument("--times", type=int, default=20, help="how often for each kind of concurrency")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    options = parser.parse_args()
    lost: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for name in options.parts or PARTS:
            subfolder = Path(folder) / name
            subfolder.mkdir()
            lost += run_part(name, list(PARTS[name](subfolder, options)), subfolder, options.jobs)
    print("\n".join(lost) or "nothing lost")
    sys.exit(bool(lost))


def named_kills(folder: Path, options: argparse.Namespace) -> Iterator[Task]:
    """Kill a run of its own at the first, a middle and the last passage of every named point."""
    reference = kills.undisturbed(folder / "undisturbed")
    for name, n_passages in reference.passages.items():
        for hit in kills.hits(n_passages):
            point = f"{name}:{hit}"
            yield Task(name, lambda copy, point=point: kills.killed_at(harness.make(copy), [point], reference))


def random_kills(folder: Path, options: argparse.Namespace) -> Iterator[Task]:
    """Kill runs again and again after random times."""
    reference = kills.undisturbed(folder / "undisturbed")
    for number in range(-(-options.kills // KILLS_PER_TASK)):
        seed = f"{options.seed}-{number}"
        yield Task(
            f"seed {seed}",
            partial(kills.killed_at_random, seed=seed, reference=reference, n_kills=KILLS_PER_TASK),
        )


def damages(folder: Path, options: argparse.Namespace) -> Iterator[Task]:
    """Damage every kind of artifact in every way."""
    finished = folder / "undisturbed"
    expected = kills.undisturbed(finished).results
    for kind, way in product(corruption.KINDS, corruption.WAYS):
        yield Task(kind.name, partial(corruption.damaged, finished, kind=kind, way=way, expected=expected))


def damages_under_dvc(folder: Path, options: argparse.Namespace) -> Iterator[Task]:
    """Damage every kind of artifact where DVC keeps it: in place, so that its copy is hit too, and by removing it."""
    finished = corruption_under_dvc.finished(folder / "undisturbed")
    for kind, way in product(corruption_under_dvc.KINDS, ("flip", "remove")):
        yield Task(kind.name, partial(corruption_under_dvc.damaged, finished, kind=kind, way=way))


def concurrent_runs(folder: Path, options: argparse.Namespace) -> Iterator[Task]:
    """Run `dvc repro` twice at once, and once more after the first one was killed, many times."""
    finished = corruption_under_dvc.finished(folder / "undisturbed")
    for number in range(options.times):
        yield Task("two at once", partial(concurrency.at_once, finished))
        yield Task("after the first was killed", partial(concurrency.after_a_kill, finished))
        if number % 4 == 0:
            yield Task("two stages side by side", partial(concurrency.side_by_side, finished))


PARTS: dict[str, Part] = {
    "named-kills": named_kills,
    "random-kills": random_kills,
    "damages": damages,
    "damages-under-dvc": damages_under_dvc,
    "concurrency": concurrent_runs,
}


def run_part(name: str, tasks: list[Task], folder: Path, jobs: int) -> list[str]:
    """Run tasks, several at once, print their table and return what was lost."""

    def attempt(number: int) -> Trial:
        copy = folder / str(number)
        try:
            return tasks[number].attempt(copy)
        except Exception:
            return Trial((), (traceback.format_exc(),), 0.0)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    with ThreadPoolExecutor(jobs) as pool:
        trials = list(tqdm(pool.map(attempt, range(len(tasks))), desc=name, total=len(tasks), unit=" trials"))
    print(f"\n{name:<32}{'tried':>7}{'survived':>10}{'seconds':>9}")
    rows = dict.fromkeys(task.row for task in tasks)
    for row in rows:
        of_row = [trial for task, trial in zip(tasks, trials, strict=True) if task.row == row]
        print_row(row, of_row)
    print_row("all", trials)
    return [f"{name}, {task.row}: {line}" for task, trial in zip(tasks, trials, strict=True) for line in trial.lost]


def print_row(row: str, trials: list[Trial]) -> None:
    """Print how often something was tried and survived: a kill counts, a run that was lost loses all its kills."""
    tried = sum(max(1, len(trial.points)) for trial in trials)
    survived = sum(len(trial.points) for trial in trials if not trial.lost)
    print(f"{row:<32}{tried:>7}{survived:>10}{sum(trial.seconds for trial in trials):>9.1f}")


if __name__ == "__main__":
    main()
