"""What the tests of faults compare with: the tiny competition after a run that nobody disturbed."""

from pathlib import Path

import pytest

from tests.faults import kills
from tests.faults.durability import record_durability
from tests.faults.kills import Reference

collect_ignore = ["preloaded.py"]  # which is no test, and works for seconds when it is imported


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the run was made; not to be changed."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="session")
def reference(undisturbed: Path) -> Reference:
    return kills.undisturbed(undisturbed, patch=record_durability)
