"""The form of export.json: what an export says of itself, checked whole before anything of it is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline import components
from pipeline.artifacts.files import is_inner
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DataError, PipelineError, shown

FORMAT = "stitchfold-export"
VERSION = 2
DESCRIPTION = "export.json"
REMEDY = "Make it again: stitchfold export."


def _inner(path: str) -> str:
    if not is_inner(path):
        raise ValueError("must lie within the export")
    return path


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class EncoderForm(_Form):
    """An encoder: the folder of its configuration and tokenizer, and how it reads texts."""

    encoder: Annotated[str, Field(min_length=1)]
    folder: Annotated[str, AfterValidator(_inner)]
    max_length: Annotated[int, Field(ge=1)]
    truncation: Literal["head", "tail", "head_tail"]
    layers: Literal["last", "last_four"] | Annotated[int, Field(ge=0)]
    without_offsets: Literal["refuse", "words"]


class FoldForm(_Form):
    """A fold's stitch, as `Stitch` takes it, and the numbers of its encoders, the frame first."""

    repeat: Annotated[int, Field(ge=0)]
    fold: Annotated[int, Field(ge=0)]
    encoders: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    stitch: dict[str, Any]


class ExportForm(_Form):
    """The whole of export.json."""

    format: Literal["stitchfold-export"]
    version: Literal[2]
    model: str
    task: str
    fold: int | None
    kind: Annotated[list[Any], Field(min_length=2, max_length=2)]
    labels: Annotated[list[str], Field(min_length=1)]
    manifest: str
    pairs: bool
    versions: dict[str, Any]
    encoders: Annotated[list[EncoderForm], Field(min_length=1)]
    folds: Annotated[list[FoldForm], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> "ExportForm":
        name, options = self.kind
        if name not in components.available("task_kinds") or not isinstance(options, Mapping):
            raise ValueError(f"kind: must be a kind of task and its options, got {shown(self.kind)}")
        kind: TaskKind = components.build("task_kinds", name, options)
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: must differ, got {shown(self.labels)}")
        for number, fold in enumerate(self.folds):
            wanted = {"n_outputs": len(kind.outputs(self.labels)), "sizes": len(fold.encoders)}
            sizes = fold.stitch.get("sizes")
            got = {
                "n_outputs": fold.stitch.get("n_outputs"), "sizes": len(sizes) if isinstance(sizes, list) else sizes,
            }  # fmt: skip
            if got != wanted or max(fold.encoders) >= len(self.encoders):
                raise ValueError(
                    f"folds.{number}: must fit {wanted} and {len(self.encoders)} encoders, got {shown(got)}"
                )
        return self


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what a folder's export.json says, in whatever form, or None if it is no export."""
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return description if description["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def check_description(folder: Path, description: dict[str, Any]) -> None:
    """Check the form of what an export says of itself.

    Raises:
        DataError: if it is of another version or form.
    """
    version = description.get("version")
    if type(version) is int and version != VERSION:
        remedy = "Update stitchfold." if version > VERSION else REMEDY
        raise DataError(f"{folder}: must be of version {VERSION}, got {version}. {remedy}")
    try:
        ExportForm.model_validate(description)
    except (ValidationError, PipelineError, TypeError) as error:
        text = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            text = f"{where}: {first['msg']}, got {shown(first['input'])}" if where else first["msg"]
        raise DataError(f"{folder / DESCRIPTION}: is not in the form of an export: {text}. {REMEDY}") from error
