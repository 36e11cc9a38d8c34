"""Hugging Face checkpoints as a model and its tokenizer.

Weights are read from safetensors only and code that comes with a checkpoint is never run.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import NO_CODE, check_length


def load_checkpoint(origin: str, *, revision: str | None, max_length: int) -> EncoderParts:
    """Load a checkpoint in float32 from a folder, or from the hub at a commit.

    Raises:
        ParamsError: if it cannot be loaded or has fewer positions than `max_length`.
    """
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


def restore_checkpoint(folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder, **NO_CODE), dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    return EncoderParts(model, tokenizer)
