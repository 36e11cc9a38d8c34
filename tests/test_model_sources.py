"""Where models and files lie: what an augmenter's `model` points to, and what DVC can see."""

import json
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_checkpoint, locate, misplaced, weight_files

COMMIT = "5c58d0b8ec1d9014354d691c538661bf00bfdb44"


def test_a_folder_with_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
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
        (tmp_path / file).write_text("{}")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ParamsError, match=message):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"model.safetensors.index.json": '{"weight_map": {"a": "w.bin"}}'},
            "index.json must name files .*got 'w.bin'",
        ),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "sub/w.safetensors"}}'}, "beside it, got 'sub/w.saf"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "../w.safetensors"}}'}, "beside it, got '../w.saf"),
        ({"model.safetensors.index.json": '{"weight_map": [5]}'}, "index.json must name files of weights, got"),
        ({"model.safetensors.index.json": "[]"}, "index.json must name files of weights, got"),
        ({"config.json": '{"transformers_weights": "adapter_model.bin"}'}, "got 'adapter_model.bin'"),
        ({"config.json": '{"transformers_weights": "sub/x.safetensors"}'}, "beside it, got 'sub/x.safetensors'"),
        ({"config.json": "[]"}, "config.json must be an object"),
    ],
)
def test_P6_an_index_that_names_other_weights_than_safetensors_beside_it_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    """Weights of another form, or that lie elsewhere, are refused whoever names them: they would be unpickled or unseen."""
    (tmp_path / "config.json").write_text("{}")
    for name in ("w.bin", "other.safetensors"):
        (tmp_path / name).touch()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ParamsError, match=message) as caught:
        locate(str(tmp_path))
    assert caught.value.code == "E204"
    with pytest.raises(ParamsError, match=message):
        check_checkpoint(tmp_path, max_length=8)


def test_an_index_of_safetensors_is_followed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in [*names, "stray.safetensors"]:
        (tmp_path / name).touch()
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [path.name for path in weight_files(tmp_path)] == names


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


@pytest.mark.parametrize("place", ["models/x", "data/tiny/inner"])
def test_F10_what_lies_behind_a_linked_folder_is_refused_and_the_advice_makes_dvc_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Files behind a linked folder, which DVC does not follow, are refused; after what the message says it sees them."""
    monkeypatch.chdir(tmp_path)
    watched = Path(place).parent
    elsewhere = tmp_path / "else where"
    (elsewhere / "sub").mkdir(parents=True)
    weights = elsewhere / "sub" / "model.safetensors"
    weights.write_text("old")
    watched.mkdir(parents=True)
    Path(place).symlink_to(elsewhere, target_is_directory=True)
    file = f"{place}/sub/model.safetensors"
    text = misplaced(file, "file", folder=str(watched))
    assert text is not None and f"got {file} behind the link {place}" in text
    with Repo.init(no_scm=True) as repo:
        stages = f"stages: {{s: {{cmd: echo x > out.txt, deps: [{watched}], outs: [out.txt]}}}}"
        Path("dvc.yaml").write_text(stages, encoding="utf-8")
        repo.reproduce()
        weights.write_text("replaced")
        assert repo.status() == {}, "DVC does not see it"
        subprocess.run(text.split("`")[1], shell=True, check=True)
        assert misplaced(file, "file", folder=str(watched)) is None
        repo.reproduce()
        weights.write_text("replaced again")
        assert repo.status() != {}


def test_a_watched_folder_and_its_files_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.csv").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "test.csv").symlink_to("train.csv")
    for name in ("train.csv", "test.csv"):
        assert misplaced(f"data/tiny/{name}", "file", folder="data/tiny") is None
