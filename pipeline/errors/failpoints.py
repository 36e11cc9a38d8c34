"""Named points at which a test may kill the process: `STITCHFOLD_FAILPOINT=name:hit` sends SIGKILL at the hit-th passage."""

import os
import signal
from collections import Counter

hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do nothing, unless the environment asks to count passages and names this one to die at."""
    target = os.environ.get("STITCHFOLD_FAILPOINT")
    if target is None:
        return
    hits[name] += 1
    if target == f"{name}:{hits[name]}":
        os.kill(os.getpid(), signal.SIGKILL)
