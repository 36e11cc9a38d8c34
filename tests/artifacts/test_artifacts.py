"""Artifacts: atomic, digested, refused when damaged or made from another manifest; predictions keep their contract."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.artifacts import frames
from pipeline.artifacts.files import MANIFEST, is_whole, read_json, write_json
from pipeline.artifacts.frames import read_frame, write_frames
from pipeline.artifacts.paths import AUDIT, predictions_path
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions, write_predictions
from pipeline.data.class_targets import ClassTargets
from pipeline.errors.exceptions import DataError, MachineError
from pipeline.units.unit import Unit


def predictions(**changes) -> Predictions:
    rows = pd.DataFrame(
        {
            "row_id": ["b", "a", "t", "t"],
            "task": "x",
            "split": ["oof", "oof", "test", "test"],
            "repeat": 0,
            "fold": [0, 1, 0, 1],
        }
    )
    logits = np.log(np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [0.9, 0.1]], dtype=np.float32))
    return Predictions("m", "x", ["no", "yes"], rows, logits, "f" * 64, "r", 1, **changes)


def test_predictions_come_back_as_they_were(tmp_path) -> None:
    write_predictions(predictions(), tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet", manifest="f" * 64)
    assert np.array_equal(read.logits, predictions().logits) and read.logits.dtype == np.float32
    assert read.rows.values.tolist() == predictions().rows.values.tolist()
    assert (read.model, read.labels, read.seed) == ("m", ["no", "yes"], 1)


def test_another_manifest_is_refused_with_the_command_that_mends_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = predictions_path("finetune", "bert", "x")
    write_predictions(predictions(), path)
    with pytest.raises(DataError, match=r"was made from the fold manifest ffff.*\. Run dvc repro\."):
        read_predictions(path, manifest="e" * 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: dataclasses.replace(p, logits=np.full((4, 2), np.nan)),
            "must be finite, got 4 rows that are not, first 'b'",
        ),
        (lambda p: dataclasses.replace(p, logits=p.logits[:3]), r"logits must have shape \(rows, labels\) = \(4, 2\)"),
        (lambda p: dataclasses.replace(p, rows=p.rows.assign(row_id=["a", "a", "t", "t"])), "got 'a' twice"),
        (lambda p: dataclasses.replace(p, rows=p.rows.assign(fold=[0, 1, 0, 0])), "got 't' twice"),
    ],
)
def test_I9_I19_predictions_that_break_the_contract_are_not_written(tmp_path, change, message: str) -> None:
    """Predictions that are not finite, or hold a row twice, are not written."""
    with pytest.raises(DataError, match=message):
        write_predictions(change(predictions()), tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())


def test_probabilities_are_joined_by_row_id_and_averaged_over_folds() -> None:
    np.testing.assert_allclose(
        probabilities_of(predictions(), "oof", ["a", "b"], kind=ClassTargets()), [[0.6, 0.4], [0.2, 0.8]], rtol=1e-6
    )
    np.testing.assert_allclose(
        probabilities_of(predictions(), "test", ["t"], kind=ClassTargets()), [[0.7, 0.3]], rtol=1e-6
    )
    with pytest.raises(DataError, match="1 oof rows of task x have none, first 'c'"):
        probabilities_of(predictions(), "oof", ["a", "c"], kind=ClassTargets())


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "no digest"])
def test_a_damaged_artifact_is_noticed_and_the_message_says_how_to_make_it_again(tmp_path, monkeypatch, damage) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(AUDIT, {"a": 1})
    content = AUDIT.read_bytes()
    sidecar = AUDIT.with_name("audit.json.sha256")
    if damage == "no digest":
        sidecar.unlink()
    elif damage == "remove":
        AUDIT.unlink()
    else:
        new = {"flip": bytes([content[0] ^ 1]) + content[1:], "truncate": content[:-1], "empty": b""}[damage]
        AUDIT.write_bytes(new)
    with pytest.raises(MachineError, match=r"out/prepare/audit.json: .*stitchfold doctor --fix, then dvc repro"):
        read_json(AUDIT)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="cannot be written.*No space left.*Free space"):
        write_json(path, 2)
    monkeypatch.undo()
    assert read_json(path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json", "x.json.sha256"]


def test_numbers_that_are_not_finite_become_null(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"a": np.float64("nan"), "b": [np.int64(3), float("inf")]})
    assert read_json(tmp_path / "x.json") == {"a": None, "b": [3, None]}


@pytest.mark.parametrize("n_each", [1, 7, 16, 40])
def test_how_rows_come_in_frames_changes_no_byte(tmp_path, monkeypatch, n_each: int) -> None:
    monkeypatch.setattr(frames, "GROUP_ROWS", 16)
    rows = pd.DataFrame(
        {"text": [f"row {i}" for i in range(40)], "pair": [None] * 20 + ["b"] * 20, "number": range(40)}
    )
    schema = pa.schema({"text": pa.large_string(), "pair": pa.large_string(), "number": pa.int64()})
    write_frames(tmp_path / "whole", [rows], schema, {"a": 1})
    parts = (rows[start : start + n_each] for start in range(0, 40, n_each))
    write_frames(tmp_path / "parts", parts, schema, {"a": 1})
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    frame, metadata, _ = read_frame(tmp_path / "parts")
    assert metadata == {"a": 1} and frame["number"].tolist() == list(range(40)) and frame["pair"].notna().sum() == 20


def test_no_frames_make_an_empty_table(tmp_path) -> None:
    write_frames(tmp_path / "none", [], pa.schema({"text": pa.large_string()}), {})
    frame = read_frame(tmp_path / "none")[0]
    assert frame.columns.tolist() == ["text"] and not len(frame)


@pytest.mark.parametrize(
    "manifest",
    ["{}", "[]", "null", "5", '{"x": null}', '{"x": "0"}', '{"": "%s"}', '{"../x": "%s"}', '{"/etc/hostname": "%s"}'],
)
def test_F9_a_folder_whose_manifest_names_nothing_or_what_is_elsewhere_is_not_whole(
    tmp_path: Path, manifest: str
) -> None:
    """An empty manifest is no manifest, nor is one that names files outside of its folder or gives no sha256."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "x", tmp_path / "folder" / "x"):
        path.write_bytes(b"")
    empty = hashlib.sha256(b"").hexdigest()
    (tmp_path / "folder" / MANIFEST).write_text(manifest.replace("%s", empty), encoding="utf-8")
    assert not is_whole(tmp_path / "folder")
    (tmp_path / "folder" / MANIFEST).write_text(json.dumps({"x": empty}), encoding="utf-8")
    assert is_whole(tmp_path / "folder")


def test_F9_a_unit_with_an_empty_manifest_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result in the store whose manifest is `{}` is set aside and made again."""
    monkeypatch.chdir(tmp_path)
    unit = Unit("bert/f0", {"n": 1})
    unit.result.mkdir(parents=True)
    (unit.result / MANIFEST).write_text("{}", encoding="utf-8")
    assert not unit.is_finished() and list(unit.folder.glob("result.corrupt-*"))
