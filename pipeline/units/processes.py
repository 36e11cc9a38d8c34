"""Which process somebody is: its number alone says nothing once it has ended, as numbers are handed out again.

After a power cut, and in every container, they begin anew. So a process is known by its number, when it started, and since
which start of the machine that is counted.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, as no other one ever is: `started` counts from `boot`, in the system's own unit."""

    pid: int
    started: str
    boot: str

    def is_alive(self) -> bool:
        """Return whether the process is still there, seen from this container, and not merely unburied."""
        return identity(self.pid) == self

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process and its children have taken so far, 0 if it is gone."""
        seconds = 0.0
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    seconds += times.user + times.system
        return seconds


def identity(pid: int | None = None) -> ProcessIdentity | None:
    """Return who has a number, by default this process; None if nobody has it, or who had it has ended.

    >>> identity() == identity(os.getpid()), identity(os.getpid()).is_alive()
    (True, True)
    """
    number = os.getpid() if pid is None else pid
    with suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(number)
        if process.status() != psutil.STATUS_ZOMBIE:
            return ProcessIdentity(number, _started(process), _boot())
    return None


def _started(process: psutil.Process) -> str:
    """Return when a process started, on Linux in ticks since the boot: the clock may be set meanwhile."""
    stat = PROC / str(process.pid) / "stat"
    return (
        stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19] if PROC.is_dir() else str(process.create_time())
    )


@cache
def _boot() -> str:
    boot = PROC / "sys/kernel/random/boot_id"
    return boot.read_text(encoding="utf-8").strip() if boot.exists() else str(psutil.boot_time())
