"""What is around a run decides no bit of its results: time zone, locale, hash seed, the order in which files are listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANG_SECONDS, ROOT
from tests.faults import harness
from tests.faults.kills import Reference

SCRIPT = """
import sys
from pathlib import Path
from tests.faults import harness, test_surroundings
harness.repro(Path(sys.argv[1]), patch=test_surroundings.list_backwards)
"""


def list_backwards() -> None:
    """Let this process see the files of every folder in reverse order."""
    for name in ("glob", "rglob", "iterdir"):
        listed = getattr(Path, name)
        backwards = lambda self, *pattern, listed=listed: iter(sorted(listed(self, *pattern), reverse=True))  # noqa: E731
        setattr(Path, name, backwards)


@pytest.mark.parametrize(
    "surroundings",
    [
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
        pytest.param({"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}, marks=pytest.mark.slow),
    ],
    ids=["C", "UTF-8"],
)
def test_F17_I13_I15_time_zone_locale_hash_seed_and_listing_order_change_no_bit(
    tmp_path: Path, reference: Reference, surroundings: dict[str, str]
) -> None:
    """Equal seeds give equal bytes in another time zone, locale and hash seed, and with folders listed in another order."""
    project = harness.make(tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(project)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **surroundings}, check=True, timeout=HANG_SECONDS)
    assert not harness.differences(project, reference.results)
