"""When to stop: SIGTERM, SIGINT, or the death of the process that this one works for.

A training step asks `stop_requested()`; the first signal lets it finish the step and write a checkpoint, a second one,
more than two seconds later, ends the process at once. A stage notices when the `dvc` above it is gone, a worker when
its stage is, also if that happened while it still started: it then begins nothing.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from pipeline.errors.exceptions import InterruptedRun
from pipeline.units.processes import ProcessIdentity, identity

_requested: int | None = None
_requested_at = 0.0
_watching = False
POLL_SECONDS = 1.0
SECOND_REQUEST_SECONDS = 2.0


def stop_requested() -> int | None:
    """Return 143 after SIGTERM (or when the parent died), 130 after SIGINT, else None."""
    return _requested


@contextmanager
def stop_on_signals(*, stage: ProcessIdentity | None = None) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a request to stop, handed on to worker processes, while the block runs.

    Args:
        stage: in a worker, the process of its stage.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ctrl-C reaches the whole group, and a worker hears of it from its stage: two requests would end it at once.
    on_interrupt = signal.SIG_IGN if _is_worker(stage) else _request
    before = {n: signal.signal(n, act) for n, act in ((signal.SIGTERM, _request), (signal.SIGINT, on_interrupt))}
    if stage is not None and _is_worker(stage):
        _watch(stage)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def request_stop() -> None:
    """Ask this process and its workers to stop as SIGTERM does, unless they were asked already."""
    if _requested is None:
        _request(signal.SIGTERM, None)


def _request(number: int, frame: FrameType | None) -> None:
    global _requested, _requested_at
    if _requested is not None:
        # A group's signal and the one handed on by the stage are one request; who means it sends another later.
        if time.monotonic() - _requested_at > SECOND_REQUEST_SECONDS:
            os._exit(_requested)
        return
    _requested, _requested_at = 128 + number, time.monotonic()
    for child in psutil.Process().children():  # the workers; what keeps track of their files ignores it
        with suppress(psutil.Error):
            child.send_signal(signal.SIGTERM)


def watch_dvc() -> None:
    """Have this process asked to stop when the `dvc` above it, if there is one, is gone."""
    if (dvc := dvc_above()) is not None:
        _watch(dvc)


def refuse_orphan() -> None:
    """Refuse to begin a stage that DVC runs when no `dvc` is above it any more.

    Raises:
        InterruptedRun: if it is gone: another `dvc repro` may be at work on the same files.
    """
    if "DVC_STAGE" in os.environ and not _watching:
        raise InterruptedRun(
            f"stage {os.environ['DVC_STAGE']}: must run below the dvc that started it, which is gone; nothing was begun. "
            "Run dvc repro to continue. By hand, without dvc: unset DVC_STAGE first."
        )


def _watch(master: ProcessIdentity) -> None:
    """Start, once, a thread that asks this process to stop when another one is gone; ask at once if it is already."""
    global _watching
    if _watching:
        return
    _watching = True
    if not master.is_alive():
        os.kill(os.getpid(), signal.SIGTERM)
        return

    def watch() -> None:
        while master.is_alive():
            time.sleep(POLL_SECONDS)
        if _requested is None:  # a signal to the whole group ends dvc too
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_worker(stage: ProcessIdentity | None) -> bool:
    return stage is not None and stage.pid != os.getpid()


def dvc_above() -> ProcessIdentity | None:
    """Return the nearest `dvc` above this process: by its name or, where a program runs DVC, by DVC's own note."""
    noted = _noted_by_dvc()
    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):
            words = ancestor.cmdline()[:3]
            if ancestor.pid in noted or any(os.path.basename(word) == "dvc" for word in words):
                return identity(ancestor.pid)
    return None


def _noted_by_dvc() -> set[int]:
    """Return the processes that write outs of this project, as DVC notes them while a stage runs."""
    try:
        path = Path(os.environ.get("DVC_ROOT", "."), ".dvc", "tmp", "rwlock")
        return {writer["pid"] for writer in json.loads(path.read_text(encoding="utf-8"))["write"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
