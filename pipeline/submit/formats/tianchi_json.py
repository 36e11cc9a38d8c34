"""The submission of Tianchi's multi-task contests: a zip with one file of JSON lines per task.

Each line is `{"id": "0", "label": "Anger"}`, both as text. Form: the generalisation contest of Tianchi and CLUE,
2020 (`<task>_predict.json`). Timestamps are fixed, so equal predictions give equal bytes.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pipeline.artifacts.files import write_atomically
from pipeline.data.archives import DAMAGED_ARCHIVE, read_member
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.ranges import FileName
from pipeline.submit.format import Format, Sample
from pipeline.submit.sample_values import check_sample_labels
from pipeline.submit.submitting import check_ids, check_labels, decode_strictly, labels_of, ordered_ids, refused

LONG_AGO = (1980, 1, 1, 0, 0, 0)
KEYS = ID, LABEL = "id", "label"
FORMS = ("class",)


def build(
    *,
    file_names: dict[str, FileName] | None = None,
    file_name: FileName = "submission.zip",
    sample_values: Literal["labels", "placeholders"] = "labels",
) -> Format:
    """Return the format; `file_names` maps tasks to names in the zip, by default `<task>_predict.json`.

    With `sample_values: placeholders` the sample's values are not compared with the labels.
    """
    return TianchiJson(file_names or {}, file_name, sample_values)


@dataclass(frozen=True)
class TianchiJson:
    """A zip of JSON lines, one file per task."""

    file_names: dict[str, str]
    file_name: str
    sample_values: str = "labels"

    def write(self, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None], folder: Path) -> Path:
        """Write the zip of all tasks and return its path.

        Raises:
            DataError: if a sample disagrees with its test file.
            ParamsError: if `file_names` names an unknown task, or two tasks one file.
        """
        contents = {}
        for task, name in self._names(list(predictions)).items():
            pairs = self._pairs(predictions[task], samples.get(task), task)
            contents[name] = "".join(
                json.dumps(dict(zip(KEYS, pair, strict=True)), ensure_ascii=False) + "\n" for pair in pairs
            )
        path = folder / self.file_name
        write_atomically(path, _zip(contents))
        return path

    def check(self, path: Path, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None]) -> None:
        """Read the zip back and compare every line with the sample and the predictions.

        Raises:
            DataError: on anything that the competition would refuse or that is not what was predicted.
        """
        names = self._names(list(predictions))
        contents = _unzip(path)
        if sorted(contents) != sorted(names.values()):
            raise refused(str(path), f"must hold the files {sorted(names.values())}, got {sorted(contents)}")
        for task, name in names.items():
            where = f"{path}/{name}"
            rows = _read_lines(decode_strictly(contents[name], where=where), where)
            expected = self._pairs(predictions[task], samples.get(task), task)
            check_ids([row_id for row_id, _ in rows], [row_id for row_id, _ in expected], where=where)
            labels = [label for _, label in expected]
            check_labels([label for _, label in rows], labels, labels_of(predictions[task]), where=where)

    def _names(self, tasks: list[str]) -> dict[str, str]:
        if unknown := sorted(set(self.file_names) - set(tasks)):
            text = f"submission.format.file_names: must name tasks of {tasks}, got {unknown}. Correct the names."
            raise ParamsError(text, code="E203")
        names = {task: self.file_names.get(task, f"{task}_predict.json") for task in tasks}
        if len(set(names.values())) != len(names):
            text = f"submission.format.file_names: each task must have its own file, got {names}. Rename one."
            raise ParamsError(text, code="E203")
        return names

    def _pairs(self, frame: pd.DataFrame, sample: Sample | None, task: str) -> list[tuple[str, str]]:
        """Return id and label per row, in the order that the competition wants."""
        ids = frame["row_id"].tolist()
        sample_ids = None if sample is None else sample.column(sample.id_column(ids))
        ids = ordered_ids(ids, sample_ids, task=task, sample=None if sample is None else sample.path)
        if sample is not None and self.sample_values == "labels" and LABEL in sample.names:
            values = sample.column(sample.names.index(LABEL))
            check_sample_labels(values, labels_of(frame), task=task, sample=sample.path)
        label_of = dict(zip(frame["row_id"], frame["label"], strict=True))
        return [(row_id, label_of[row_id]) for row_id in ids]


def _read_lines(text: str, where: str) -> list[tuple[str, str]]:
    """Return id and label of each line. Only `\\n` ends a line: `str.splitlines` would also cut at U+2028."""
    pairs = []
    for line, content in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            row = json.loads(content, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            must = f"must be a JSON object, got {content[:60]!r}. Correct it or make the file again."
            raise DataError(f"{where}: line {line} {must}", code="E310") from error
        if not (
            isinstance(row, dict) and tuple(sorted(row)) == KEYS and all(isinstance(row[key], str) for key in KEYS)
        ):
            must = f'must be {{"id": text, "label": text}}, got {content[:60]}. Correct it.'
            raise DataError(f"{where}: line {line} {must}", code="E310")
        pairs.append((row["id"], row["label"]))
    return pairs


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's pairs as a dictionary; a key that stands twice is a ValueError."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("each key must stand once in an object")
    return dict(pairs)


def _zip(contents: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in contents.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix: the same bytes whatever the system that writes them
            archive.writestr(entry, text.encode("utf-8"))
    return buffer.getvalue()


def _unzip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            contents = {member.filename: read_member(archive, member, path) for member in archive.infolist()}
    except DAMAGED_ARCHIVE as error:
        raise refused(str(path), f"must be a whole zip file, got: {error}") from error
    if len(contents) != len(names):
        raise refused(str(path), f"must hold each file once, got {names}")
    return contents
