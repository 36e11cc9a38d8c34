"""Named points at which a test may kill the process: `STITCHFOLD_FAILPOINT=name:hit` sends SIGKILL at the hit-th passage."""

import os
import signal
from collections import Counter

_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do nothing, unless the environment names this point and its turn has come."""
    target, _, hit = os.environ.get("STITCHFOLD_FAILPOINT", "").partition(":")
    if target == name:
        _hits[name] += 1
        if _hits[name] == int(hit or 1):
            os.kill(os.getpid(), signal.SIGKILL)
