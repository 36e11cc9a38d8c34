"""A bundle's own command: from a raw test file to a submission, which is there at once and gets better while time is left.

First comes a file without any model, then one with the baselines, then fold by fold the models that share encoders: after
one fold every model has a say, and each further fold only steadies it. What would not be ready in time is left out.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.bundle.predictor import TOKENS_PER_BATCH, Bundle, load_bundle
from pipeline.data.reading import LINE, read_columns, separator_of
from pipeline.errors.exceptions import DataError, InterruptedRun, as_pipeline_error
from pipeline.number_formats import duration
from pipeline.submit.format import Format, Sample
from pipeline.submit.submitting import submission_frame

PROBE_SECONDS = 5.0  # the longest rows, which come first, say by then how long all will take
MARGIN = 1.1
logger = logging.getLogger("bundle")


class Clock:
    """The time that is left, in seconds."""

    def __init__(self, seconds: float) -> None:
        """Start it."""
        self.ends = time.monotonic() + seconds

    def left(self) -> float:
        """Return how much is left, below 0 when it is over."""
        return self.ends - time.monotonic()


class Watch:
    """Ends a pass over rows, longest first, when the time is over, or as soon as it shows that it will not do."""

    def __init__(self, clock: Clock, lengths: np.ndarray) -> None:
        """Take the tokens of each row (N,)."""
        self.clock, self.started, self.share = clock, time.monotonic(), 0.0
        self.tokens = np.cumsum(-np.sort(-lengths))

    def progress(self, **values: float) -> None:
        """Take how many rows are done, `step`."""
        self.share = float(self.tokens[int(values["step"]) - 1] / self.tokens[-1])

    def stop_requested(self) -> int | None:
        """Return 1 where the pass must end."""
        elapsed = time.monotonic() - self.started
        rest = elapsed / self.share - elapsed
        return 1 if self.clock.left() < (rest if elapsed >= PROBE_SECONDS else 0) else None


@dataclass
class Run:
    """Predictions of rows as far as they are: of each model the sum of its fold models' values (N, V), and their number."""

    bundle: Bundle
    rows: pd.DataFrame
    publish: Callable[[np.ndarray], None]
    clock: Clock
    device: str = "auto"
    tokens_per_batch: int = TOKENS_PER_BATCH
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    n_folds: dict[str, int] = field(default_factory=dict)
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)

    def values(self) -> np.ndarray:
        """Return what all that is there predicts together, (N, V)."""
        means = {name: total / self.n_folds[name] for name, total in self.sums.items()}
        return self.bundle.combined(means, len(self.rows))

    def go(self) -> None:
        """Publish without a model, with the baselines, and then after each fold of each group of models."""
        self.publish(self.values())
        if not len(self.rows):
            return
        members = self.bundle.description["members"]
        baselines = [member["name"] for member in members if member["kind"] == "baseline"]
        for name in baselines:
            self._attempt([name], partial(self._baseline, name))
        others = {member["name"]: len(member["folds"]) for member in members if member["name"] not in baselines}
        for fold in range(max(others.values(), default=0)):
            alive = [name for name in others if self.n_folds.get(name, 0) == fold and self.clock.left() > 0]
            for group in self.bundle.groups(alive):
                self._fold(fold, group)

    def _baseline(self, name: str) -> dict[str, np.ndarray]:
        return {name: self.bundle.baseline_values(name, self.rows)}

    def _fold(self, fold: int, names: list[str]) -> None:
        """Add a fold of models that share encoders; where that cannot be, of each by itself that can."""
        if self.clock.left() < MARGIN * self.seconds.get(tuple(names), 0.0):
            logger.warning("fold %d of %s: left out, no time.", fold, ", ".join(names))
            return
        options: Any = {"device": self.device, "tokens_per_batch": self.tokens_per_batch}

        def values() -> dict[str, np.ndarray]:
            return self.bundle.fold_values(fold, names, self.rows, watch=partial(Watch, self.clock), **options)

        if not self._attempt(names, values) and len(names) > 1:
            for name in names if self.clock.left() > 0 else ():
                self._fold(fold, [name])

    def _attempt(self, names: list[str], values: Callable[[], dict[str, np.ndarray]]) -> bool:
        """Add what is computed and publish; return whether that went well. One model's fault must not cost the file."""
        started = time.monotonic()
        try:
            if self.clock.left() <= 0:
                raise InterruptedRun("clock: no time is left. Raise --budget-minutes.")
            added = values()
        except InterruptedRun:
            logger.warning("%s: left out, no time.", ", ".join(names))
            return False
        except Exception as error:
            logger.warning("%s: left out: %s: %s", ", ".join(names), type(error).__name__, error)
            return False
        for name in names:
            self.sums[name] = self.sums.get(name, 0) + added[name]
            self.n_folds[name] = self.n_folds.get(name, 0) + 1
        self.seconds[tuple(names)] = time.monotonic() - started
        logger.info("%s: %s", ", ".join(names), duration(self.seconds[tuple(names)]))
        self.publish(self.values())
        return True


def read_sample(bundle: Bundle, path: Path | None, row_ids: Sequence[str]) -> Sample | None:
    """Return the sample submission of a test file, or one like the task's own with a row for each of these ids."""
    known = bundle.description["submission"]["sample"]
    if known is None:
        return None
    if path is not None:
        form: Any = SimpleNamespace(**known["form"])
        rows = read_columns(path, None, form, key="--sample", may_be_empty=True).drop(columns=LINE)
        return Sample(path, rows, separator_of(path, form), form.header)
    rows = pd.DataFrame([known["row"]] * len(row_ids), columns=known["names"], dtype=object)
    if known["id_place"] is not None:
        rows.isetitem(known["id_place"], list(row_ids))
    return Sample(Path(known["file"]), rows, known["separator"], known["form"]["header"])


def publisher(bundle: Bundle, rows: pd.DataFrame, sample: Sample | None, output: Path) -> Callable[[np.ndarray], None]:
    """Return what writes the submission of values (N, V): checked aside, then put in the place of the one before."""
    name, options = bundle.description["submission"]["format"]
    form: Format = components.build("formats", name, options)
    task = bundle.description["task"]

    def publish(values: np.ndarray) -> None:
        frames = {task: submission_frame(rows["row_id"].tolist(), values, bundle.labels, kind=bundle.kind)}
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".unchecked-") as aside:
            written = form.write(frames, {task: sample}, Path(aside))
            form.check(written, frames, {task: sample})
            os.replace(written, output)

    return publish


def main(folder: Path, arguments: Sequence[str]) -> None:
    """Run a bundle: read the arguments, predict, and end with the code of what went wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    given = _parsed(folder, arguments)
    clock = Clock(float("inf") if given.budget_minutes is None else 60 * given.budget_minutes)
    try:
        bundle = load_bundle(folder, finished=given.rehearse is None)
        if given.rehearse is not None:
            print(json.dumps(rehearse(bundle, json.loads(given.rehearse.read_text(encoding="utf-8")))))
            return
        if not given.input.is_file():
            raise DataError(f"--input: no such file: {given.input}. Name the test file.")
        rows = bundle.read_rows(given.input)
        sample = read_sample(bundle, given.sample, rows["row_id"].tolist())
        run = Run(
            bundle, rows, publisher(bundle, rows, sample, given.output), clock, given.device, given.tokens_per_batch
        )
        run.go()
    except Exception as error:
        known = as_pipeline_error(error)
        logger.error("%s: %s", known.code, known)
        sys.exit(known.exit_code)
    folds = ", ".join(f"{name} {n}" for name, n in run.n_folds.items()) or "no model"
    logger.info("%s: %d rows; models and folds: %s", given.output, len(rows), folds)


def rehearse(bundle: Bundle, rows: dict[str, list[str] | None]) -> dict[str, Any]:
    """Return what the models predict for rows of the table, the seconds that each takes by row, and what was imported."""
    frame = pd.DataFrame(rows)
    values = bundle.values_of(frame).tolist()
    seconds = {member["name"]: _seconds_by_row(bundle, member, frame) for member in bundle.description["members"]}
    return {"values": values, "seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}


def _seconds_by_row(bundle: Bundle, member: dict[str, Any], rows: pd.DataFrame) -> float:
    """Return what all folds of a model take by row, once they are loaded."""
    moments = [time.monotonic()]

    def watch(lengths: np.ndarray) -> Watch:
        moments.append(time.monotonic())
        return Watch(Clock(float("inf")), lengths)

    if member["kind"] == "baseline":
        bundle.baseline_values(member["name"], rows)
        return (time.monotonic() - moments[-1]) / len(rows)
    bundle.fold_values(0, [member["name"]], rows, device="cpu", watch=watch)
    return (time.monotonic() - moments[-1]) / len(rows) * len(member["folds"])


def _parsed(folder: Path, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="the test file, written as the task's own")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), help="the submission")
    parser.add_argument("--sample", type=Path, help="the sample submission of this test file, where there is one")
    parser.add_argument("--budget-minutes", type=float, help="what is not ready by then is left out")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--tokens-per-batch", type=int, default=TOKENS_PER_BATCH, help="halved when memory runs out")
    parser.add_argument("--rehearse", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.input is None and given.rehearse is None:
        parser.error(f"--input: must name the test file. See {folder / 'README.md'}.")
    return given
