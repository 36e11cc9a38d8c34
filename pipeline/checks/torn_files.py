"""Files that DVC writes in place, so that a kill in that instant leaves them torn and every `dvc repro` fails.

Looked at without DVC, as quickly as `stitchfold check` and `status` must be; `stitchfold doctor` looks closer and mends.
"""

from collections.abc import Iterator
from pathlib import Path

LOCK_FILE, RWLOCK = Path("dvc.lock"), Path(".dvc/tmp/rwlock")


def torn_lines() -> Iterator[str]:
    """Yield a line for each file of DVC that is torn: empty, or without the end that a whole one has."""
    for path, end in ((LOCK_FILE, b"\n"), (RWLOCK, b"}")):
        if path.exists() and not path.read_bytes().endswith(end):
            yield (
                f"{path}: WARNING, is torn, as dvc leaves it when it is killed while it writes it, and dvc repro will fail. "
                "Unless dvc is at work: stitchfold doctor --fix. Nothing will be computed again."
            )
