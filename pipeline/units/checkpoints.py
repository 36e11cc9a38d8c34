"""Folders that are whole or absent, and checkpoints in two generations built from them.

A folder is filled under a temporary name; its files are synced, a manifest of their sha256 is written last, then it is
renamed. What is read is verified; a damaged folder is set aside and the older generation taken.
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.artifacts.files import is_whole, publish_folder, set_aside
from pipeline.errors.exceptions import disk_error
from pipeline.errors.failpoints import failpoint

GENERATIONS = 2
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one unit: trees of dicts, lists, numbers, strings and tensors, by step."""

    def __init__(self, folder: Path, *, name: str = "") -> None:
        self.folder, self.name = folder, name or str(folder)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint; the one before the last is removed only when the new one is whole."""
        tensors: dict[str, torch.Tensor] = {}
        skeleton = _split(state, "", tensors)
        final = self.folder / f"step-{step:09d}"
        temporary = self.folder / f".{final.name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            save_file(tensors, temporary / "tensors.safetensors")
            failpoint("checkpoint")
            (temporary / "state.json").write_text(json.dumps(skeleton), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            n_bytes = sum(tensor.nbytes for tensor in tensors.values())
            raise disk_error(final, error, n_bytes=n_bytes) from error
        shutil.rmtree(final, ignore_errors=True)
        publish_folder(temporary, final)
        failpoint("checkpointed")
        for old in self._generations()[GENERATIONS:]:
            shutil.rmtree(old)

    def load(self) -> dict[str, Any] | None:
        """Return the newest whole checkpoint, or None; damaged ones are set aside."""
        for folder in self._generations():
            if is_whole(folder):
                skeleton = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                state: dict[str, Any] = _join(skeleton, load_file(folder / "tensors.safetensors"))
                return state
            set_aside(folder)
        return None

    def beside(self, name: str) -> "Checkpoints":
        """Return further checkpoints of the unit, removed together with these."""
        return Checkpoints(self.folder / name, name=self.name)

    def start_over(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint that takes the place of all others, also of later steps."""
        for old in self._generations():
            shutil.rmtree(old)
        self.save(step, state)

    def remove(self) -> None:
        """Remove all checkpoints: the unit is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted((path for path in self.folder.glob("step-*") if "." not in path.name), reverse=True)


def _split(tree: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move the tensors of a tree into `tensors` and leave their names; dict keys keep their type, also pairs."""
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach().cpu().contiguous().clone()  # shared weights would be refused by safetensors
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"dict": [[key, _split(value, f"{name}/{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):  # told apart: some optimizers refuse the one for the other
        return {
            type(tree).__name__: [_split(value, f"{name}/{position}", tensors) for position, value in enumerate(tree)]
        }
    return {"value": tree}


def _join(skeleton: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if "dict" in skeleton:
        pairs = ((tuple(key) if isinstance(key, list) else key, value) for key, value in skeleton["dict"])
        return {key: _join(value, tensors) for key, value in pairs}
    for kind in (list, tuple):
        if kind.__name__ in skeleton:
            return kind(_join(value, tensors) for value in skeleton[kind.__name__])
    return skeleton["value"]
