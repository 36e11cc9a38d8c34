"""Hugging Face checkpoints as a model and its tokenizer.

Weights are read from safetensors only and code that comes with a checkpoint is never run.
"""

import logging
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, BitsAndBytesConfig

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import (
    NO_CODE,
    WEIGHTS,
    WEIGHTS_INDEX,
    check_length,
    check_weight_names,
    indexed_files,
    weight_files,
)  # fmt: skip
from pipeline.models.classifier import encoder_half


def load_checkpoint(origin: str, *, revision: str | None, max_length: int, weights: str = "fp32") -> EncoderParts:
    """Load a checkpoint from a folder, or from the hub at a commit, its weights as `fp32`, `bf16` or `nf4`.

    A tokenizer without a padding token, as Llama's, takes its end token: attention masks tell them apart. Of the weights
    those may be missing on which no hidden state depends, such as a pooler; they are always the same then.

    Raises:
        ParamsError: if it cannot be loaded, lacks weights that hidden states depend on, has fewer positions than
            `max_length`, or fewer embeddings than its tokenizer has tokens.
    """
    tokenizer = from_pretrained("AutoTokenizer", origin, revision, key="source")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, missing = load_weights("AutoModel", origin, revision, key="source", weights=weights)
    check_length(max_length, config=model.config.to_dict(), origin=origin)
    check_vocabulary(model, tokenizer, origin=origin, key="source")
    if needed := _read_by_states(model, missing):
        n_weights = len(list(model.parameters()))
        raise ParamsError(
            f"source: {origin} must hold all weights that a {type(model).__name__} computes its states with, got none for "
            f"{len(needed)} of {n_weights}, such as {needed[:3]}: they would be random. Take the checkpoint as it was "
            "pre-trained; if its weights go by other names, load it with the class that wrote it and save its encoder.",
            code="E204",
        )
    return EncoderParts(model, tokenizer)


def load_weights(
    loader: str, origin: str, revision: str | None, *, key: str = "model", weights: str = "fp32"
) -> tuple[Any, list[str]]:
    """Return a model from safetensors, and the names of the weights that the checkpoint lacks.

    It is in float32 unless `weights` are `bf16` or `nf4`.

    These are drawn from a generator of their own, always alike.

    Raises:
        ParamsError: if it cannot be loaded.
    """
    if os.path.isdir(origin):
        weight_files(Path(origin), key=key)
    else:
        _check_hub_weights(origin, revision, key=key)
    form = _in_four_bits(key) if weights == "nf4" else {"dtype": torch.bfloat16 if weights == "bf16" else torch.float32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # transformers 5 keeps the checkpoint's own type unless told: half-precision weights must be trained as float32.
        options = {"use_safetensors": True, "output_loading_info": True, **form}
        model, report = from_pretrained(loader, origin, revision, key=key, **options)
    if weights == "nf4":  # not a property of the checkpoint that is saved
        del model.config.quantization_config
    return model, sorted(report["missing_keys"])


def _in_four_bits(key: str) -> dict[str, Any]:
    """Return what loads weights as 4-bit NormalFloats, after a trial on the device that will hold them.

    Source: Dettmers et al., QLoRA, 2023, section 3, https://arxiv.org/abs/2305.14314

    Raises:
        ParamsError: if bitsandbytes cannot do it here.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels that this does without
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        dequantize_4bit(*quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4"))
    except (ImportError, OSError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise ParamsError(
            f"{key}: weights: nf4 needs a bitsandbytes that runs on this {device}, got {error}. `pip install bitsandbytes`, "
            "or set weights: bf16.",
            code="E204",
        ) from error
    dtype = torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    return {"dtype": dtype, "quantization_config": BitsAndBytesConfig(**four, bnb_4bit_compute_dtype=dtype)}


def from_pretrained(loader: str, origin: str, revision: str | None, *, key: str = "model", **options: Any) -> Any:
    """Return what an `Auto...` class of transformers loads.

    Args:
        loader: the name of the class.
        origin: a folder, or a name on the hub.
        revision: the commit on the hub.
        key: which key of the params names it, for messages.
        options: further ones of `from_pretrained`.

    Raises:
        ParamsError: if it cannot be loaded.
    """
    import transformers
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    options = {**NO_CODE, **options, **({"revision": revision} if revision else {})}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Marian's tokenizer recommends sacremoses, which only evens out quotes
            return getattr(transformers, loader).from_pretrained(origin, **options)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ParamsError(
            f"{key}: cannot load {origin} ({loader}): {error}. It needs config.json, the tokenizer and model.safetensors, "
            "and for sentencepiece tokenizers `pip install sentencepiece`.",
            code="E204",
        ) from error


def check_vocabulary(model: Any, tokenizer: Any, *, origin: str, key: str = "model") -> None:
    """Check that a model has a vector for each token of its tokenizer.

    Raises:
        ParamsError: if it has not.
    """
    try:
        n_vectors = model.get_input_embeddings().num_embeddings
    except (NotImplementedError, AttributeError):  # some families hash characters
        return
    beyond = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= n_vectors)
    if beyond:
        raise ParamsError(
            f"{key}: {origin} must have an embedding for each token of its tokenizer, got {n_vectors} embeddings, and "
            f"{len(beyond)} tokens beyond them, such as {[token for _, token in beyond[:3]]}. Take the tokenizer that was "
            "saved with these weights, or resize the model's embeddings and save it.",
            code="E204",
        )


def _check_hub_weights(origin: str, revision: str | None, *, key: str) -> None:
    """Refuse a checkpoint on the hub whose configuration or index names other weights than safetensors."""
    from transformers.utils import cached_file

    config = from_pretrained("AutoConfig", origin, revision, key=key)
    named = getattr(config, "transformers_weights", None) or WEIGHTS
    check_weight_names([named], origin=f"{origin}: config.json", key=key)
    quiet = {name: False for name in ("exceptions_for_missing_entries", "exceptions_for_connection_errors")}
    index = cached_file(
        origin, WEIGHTS_INDEX, revision=revision, **{f"_raise_{name}": value for name, value in quiet.items()}
    )
    if index is not None:
        indexed_files(Path(index), key=key)


def _read_by_states(model: Any, names: Iterable[str]) -> list[str]:
    """Return those of a model's parameters on which its hidden states depend; of a model that cannot say, all."""
    parameters = dict(model.named_parameters())
    known = [name for name in names if name in parameters]  # buffers are not drawn
    if not known:
        return []
    half = encoder_half(model)
    ids = torch.zeros((1, 4), dtype=torch.long, device=model.device)
    try:
        states = half(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True).hidden_states
        total = sum(state.float().sum() for state in states)
        gradients = torch.autograd.grad(total, [parameters[name] for name in known], allow_unused=True)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return known
    return [name for name, gradient in zip(known, gradients, strict=True) if gradient is not None]


def restore_checkpoint(folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder, **NO_CODE), dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    return EncoderParts(model, tokenizer)
