"""When to stop: SIGTERM, SIGINT, or the death of the process that this one works for.

A training step asks `stop_requested()`; the first signal lets it finish the step and write a checkpoint, a second one,
more than two seconds later, ends the process at once. A stage notices when the `dvc` above it is gone, a worker when
its stage is.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

_requested: int | None = None
_requested_at = 0.0
_watching = False
POLL_SECONDS = 1.0
SECOND_REQUEST_SECONDS = 2.0


def stop_requested() -> int | None:
    """Return 143 after SIGTERM (or when the parent died), 130 after SIGINT, else None."""
    return _requested


@contextmanager
def stop_on_signals(*, stage_pid: int | None = None) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a request to stop, handed on to worker processes, while the block runs.

    Args:
        stage_pid: in a worker, the process of its stage.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ctrl-C reaches the whole group, and a worker hears of it from its stage: two requests would end it at once.
    on_interrupt = signal.SIG_IGN if _is_worker(stage_pid) else _request
    before = {n: signal.signal(n, act) for n, act in ((signal.SIGTERM, _request), (signal.SIGINT, on_interrupt))}
    watch_parent(stage_pid=stage_pid)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def watch_parent(*, stage_pid: int | None = None) -> None:
    """Start, once, a thread that asks this process to stop when the one above it is gone: in a worker its stage."""
    global _watching
    master = _master(stage_pid)
    if _watching or master is None:
        return
    _watching = True

    def watch() -> None:
        while master.is_running() and master.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
        if _requested is None:  # a signal to the whole group ends dvc too
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_worker(stage_pid: int | None) -> bool:
    return stage_pid not in (None, os.getpid())


def _master(stage_pid: int | None) -> psutil.Process | None:
    """Return a worker's stage, else the nearest `dvc` above this process; None when there is neither."""
    if _is_worker(stage_pid):
        return psutil.Process().parent()
    for ancestor in psutil.Process().parents():
        if any(os.path.basename(word) == "dvc" for word in ancestor.cmdline()[:3]):
            return ancestor
    return None
