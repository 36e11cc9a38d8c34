"""A damaged file is noticed by whoever reads it next, and made again to the same bytes; `make test-faults` tries all."""

from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import corruption, corruption_under_dvc
from tests.faults.corruption import KINDS, WAYS, Kind
from tests.faults.kills import Reference

SAMPLE = [(kind, WAYS[number % len(WAYS)]) for number, kind in enumerate(KINDS) if number % 7 == 0]
# Of these no reader takes a copy of DVC's, or none reads them at all.
SAMPLE_UNDER_DVC = [
    ("fold model", "flip"), ("submission", "truncate"), ("ensemble", "zero"), ("metrics", "remove"),
    ("object of DVC's cache", "flip"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "way"), SAMPLE, ids=lambda value: getattr(value, "name", value))
def test_F9_F10_I4_a_damaged_file_is_noticed_and_made_again(
    tmp_path: Path, undisturbed: Path, reference: Reference, kind: Kind, way: str
) -> None:
    """A flipped byte, a lost tail or a lost file is named with its remedy, or set aside, and made again to the same bytes."""
    assert not corruption.damaged(undisturbed, tmp_path / "run", kind, way, reference.results).lost


@pytest.fixture(scope="module")
def finished_under_dvc(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return corruption_under_dvc.finished(tmp_path_factory.mktemp("finished") / "project")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), SAMPLE_UNDER_DVC)
def test_F10_damage_that_dvc_trusts_is_noticed_and_mended(
    tmp_path: Path, finished_under_dvc: Project, name: str, way: str
) -> None:
    """What is damaged in out/ and DVC's cache alike is named, made again as told, and cured by `stitchfold doctor --fix`."""
    kind = next(kind for kind in corruption_under_dvc.KINDS if kind.name == name)
    assert not corruption_under_dvc.damaged(finished_under_dvc, tmp_path / "project", kind, way).lost
