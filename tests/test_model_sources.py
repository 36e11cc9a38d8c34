"""Where an augmenter's `model` points to."""

from pathlib import Path

import pytest

from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import locate

COMMIT = "5c58d0b8ec1d9014354d691c538661bf00bfdb44"


def test_a_folder_with_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    assert locate(str(tmp_path)) == (str(tmp_path), None)


@pytest.mark.parametrize("name", ["hfl/chinese-roberta-wwm-ext", "bert-base-uncased", "a.b/c_d"])
def test_a_name_on_the_hub_comes_with_its_commit(name: str) -> None:
    assert locate(f"{name}@{COMMIT}") == (name, COMMIT)


@pytest.mark.parametrize(
    "files, message", [([], "must hold config.json"), (["config.json"], "must hold model.safetensors")]
)
def test_a_folder_without_a_model_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for file in files:
        (tmp_path / file).touch()
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ParamsError, match=message):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    "model, message",
    [
        ("", "must name a model, got ''"),
        ("owner/name", "a branch can move: must be owner/name@<40-hex commit>, got owner/name"),
        ("owner/name@main", "a branch can move"),
        (f"owner/name@{COMMIT[:39]}", "a branch can move"),
        (f"owner/name@{COMMIT.upper()}", "a branch can move"),
        ("models/typo", "no such folder: models/typo"),
        ("/nowhere/at/all", "no such folder"),
    ],
)
def test_what_leads_to_no_model_is_refused(model: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        locate(model)
