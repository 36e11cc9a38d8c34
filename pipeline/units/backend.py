"""What a backend must offer, the component that decides where units run; see `pipeline/contracts.py` for the other kinds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

MakeCalls = Callable[[Iterable[Callable[[], Any]]], Iterator[Any]]


class WorkerDied(Exception):
    """A worker process died in the middle of a call: some calls, which the store tells, must be made again."""


class BuildBackend(Protocol):
    """`backends/`: a function that makes calls and yields what each returns, as they finish.

    A call takes no argument, can be pickled, and raises nothing for which another must suffer. Calls are drawn when it is
    their turn. If a worker dies calls may be lost: the function raises `WorkerDied` and starts no more of them.
    `IN_PROCESS = True` says that there are no workers.
    """

    def __call__(self, *, n_workers: int) -> MakeCalls: ...
