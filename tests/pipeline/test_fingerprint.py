"""Code digests: what must change them does, what must not does not."""

import shutil

import pytest

from pipeline import fingerprint
from pipeline.fingerprint import code_digests
from tests.conftest import ROOT

TRAIN = [("pipeline.fold_training", "train_fold")]


@pytest.fixture
def edit(tmp_path, monkeypatch):
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint._module.cache_clear()

    def replace(file: str, old: str, new: str) -> None:
        path = tmp_path / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        fingerprint._module.cache_clear()

    yield replace
    fingerprint._module.cache_clear()


def test_it_reaches_the_training_loop_through_imports_and_leaves_infrastructure_out(edit) -> None:
    found = code_digests(TRAIN)
    assert {"pipeline.training:_Loop", "pipeline.batching:epoch_batches", "pipeline.modelling:Readout"} <= set(found)
    assert not [label for label in found if label.startswith(("pipeline.params", "pipeline.executing", "stages"))]
    assert "pipeline.artifacts:write_table" not in found


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipeline/training.py", '"""The training loop, written once', '"""Another sentence'),
        ("pipeline/training.py", "import logging\n", "import logging  # a comment\n\n\n"),
        ("pipeline/batching.py", '"""Cut rows into parts', '"""Otherwise said'),
        ("pipeline/losses/focal.py", "(1 - log", "(2 - log"),
        ("pipeline/artifacts.py", "def write_table(", "def unused() -> int:\n    return 1\n\n\ndef write_table("),
        ("pipeline/folding.py", "def rows_digest(", "def unused() -> int:\n    return 1\n\n\ndef rows_digest("),
    ],
)
def test_what_does_not_reach_the_code_changes_nothing(edit, file: str, old: str, new: str) -> None:
    before = code_digests(TRAIN)
    edit(file, old, new)
    assert code_digests(TRAIN) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("pipeline/batching.py", "WINDOW_BATCHES = 50", "WINDOW_BATCHES = 40", "pipeline.batching:WINDOW_BATCHES"),
        (
            "pipeline/parameter_groups.py",
            "parameter.ndim > 1 and",
            "parameter.ndim > 2 and",
            "pipeline.parameter_groups:parameter_groups",
        ),
        ("pipeline/reproducibility.py", "% 2**31", "% 2**30", "pipeline.reproducibility:derive_seed"),
        ("pipeline/training.py", "log = logging", "torch.manual_seed(1)\nlog = logging", "pipeline.training:"),
    ],
)
def test_what_reaches_the_code_changes_its_own_digest_only(edit, file, old, new, changed) -> None:
    before = code_digests(TRAIN)
    edit(file, old, new)
    after = code_digests(TRAIN)
    assert {label for label in after if after[label] != before.get(label)} == {changed}


def test_a_component_is_a_start_of_its_own() -> None:
    found = code_digests([("pipeline.poolings.min", "build")])
    assert {"pipeline.poolings.min:MinPooling", "pipeline.poolings.max:MaxPooling"} <= set(found)


def test_a_start_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="defines no nothing"):
        code_digests([("pipeline.training", "nothing")])
