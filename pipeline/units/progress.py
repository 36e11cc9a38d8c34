"""How far the units of a stage are: a bar on a terminal, a line every 30 seconds elsewhere."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from tqdm import tqdm

from pipeline.number_formats import duration
from pipeline.units.notes import Progress, read_progress
from pipeline.units.unit import Unit

LINE_SECONDS = 30.0
POLL_SECONDS = 1.0
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} {postfix}"
log = logging.getLogger(__name__)


@contextmanager
def polling(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every second from a thread while the block runs."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_SECONDS):
            look()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def shown_progress(units: list[Unit], *, stage: str) -> Iterator[None]:
    """Show, while the block runs, the progress that workers note in the folders of their units."""
    hidden = None if units else True  # None: unless stderr is a terminal
    with tqdm(total=float(len(units)), desc=stage, bar_format=BAR, disable=hidden) as bar:
        with polling(Watcher(units, stage=stage, bar=bar).show):
            yield


class Watcher:
    """Shows the progress that workers note in the folders of their units."""

    def __init__(self, units: list[Unit], *, stage: str, bar: "tqdm[Any]") -> None:
        self.units, self.stage, self.bar = units, stage, bar
        self.started = self.shown = time.monotonic()
        self.first: dict[str, tuple[float, float]] = {}

    def show(self) -> None:
        """Bring the bar up to date, or write a line where there is none and the last one is old."""
        share, line = self.describe()
        if not self.bar.disable:
            self.bar.n = share
            self.bar.set_postfix_str(line)
        elif time.monotonic() - self.shown >= LINE_SECONDS:
            self.shown = time.monotonic()
            log.info("%s: %s", self.stage, line)

    def describe(self) -> tuple[float, str]:
        """Return how many units' worth of work is done, and a line about it."""
        share, parts = 0.0, []
        for unit in self.units:
            if unit.result.exists():
                share += 1
                continue
            progress = read_progress(unit.folder)
            if "step" in progress:
                part = progress["step"] / progress["n_steps"]
                share += part
                parts.append(f"{unit.name} {_describe_unit(progress, self._left(unit.name, part))}")
        left = self._left("stage", share / len(self.units)) if self.units else None
        finished = sum(unit.result.exists() for unit in self.units)
        head = f"{finished}/{len(self.units)} units, {duration(left)} left for the stage"
        return share, "; ".join([head, *parts])

    def _left(self, name: str, share: float) -> float | None:
        """Return the seconds left at the pace since the first look, which may have been in the middle (a resumed unit)."""
        now = time.monotonic()
        start, share_at_start = self.first.setdefault(name, (self.started if name == "stage" else now, share))
        return (now - start) / (share - share_at_start) * (1 - share) if share > share_at_start else None


def _describe_unit(progress: Progress, left: float | None) -> str:
    """Say how far a unit is; a unit that predicts has no loss.

    >>> _describe_unit({"step": 3, "n_steps": 9, "loss": 0.5, "tokens_per_second": 1200.0}, 60.0)
    'step 3/9 loss 0.500 1,200 tokens/s 1 min 00 s left'
    """
    values = cast(dict[str, float], progress)
    forms = {"loss": " loss {:.3f}", "score": " score {:.4f}", "tokens_per_second": " {:,.0f} tokens/s"}
    known = "".join(form.format(values[name]) for name, form in forms.items() if name in values)
    return f"step {progress['step']:.0f}/{progress['n_steps']:.0f}{known} {duration(left)} left"
