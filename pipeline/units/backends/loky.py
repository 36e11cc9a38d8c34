"""Worker processes on this machine, by joblib's loky. A single worker is this process.

One dead worker fails the whole `joblib.Parallel`, with the calls of its neighbours: they have to be made again.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.units.backend import MakeCalls, WorkerDied
from pipeline.units.processes import note_shared_memory


def build(*, n_workers: int) -> MakeCalls:
    """Return what makes the calls in so many processes; arrays in their arguments are mapped into memory, not copied."""

    def run(calls: Iterable[Callable[[], Any]]) -> Iterator[Any]:
        note_shared_memory()
        parallel = joblib.Parallel(n_jobs=n_workers, backend="loky", return_as="generator_unordered", batch_size=1)
        with warnings.catch_warnings():
            # loky renews a worker that has grown between two units, and takes that for a cause of alarm.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            try:
                yield from parallel(joblib.delayed(call)() for call in calls)
            except TerminatedWorkerError as error:
                raise WorkerDied from error

    return run
