"""One batch through `generate` of transformers, in which each row has its own draws and its own limit.

Source: transformers samples a whole batch from one global generator and lets one limit serve all rows. Here a row's own
draw leaves one token of each step's distribution, which greedy decoding takes: sampling by the inverse of the cumulated
probabilities, as exact as Gumbel noise on the logits, with one random number a step instead of one per token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.hub_checkpoints import load_weights

N_MODELS = 2
# What a checkpoint says about its tokens holds; how it would search or sample is for the params to say.
KEPT_SETTINGS = (
    "bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "bad_words_ids", "suppress_tokens",
    "no_repeat_ngram_size", "repetition_penalty",
)  # fmt: skip


@dataclass(frozen=True)
class Decoding:
    """How texts are made: by beam search, `n_candidates` of each, or sampled, one for each seed.

    A temperature below 1 makes likely words likelier; `top_k` of the likeliest tokens are sampled from, 0 for all; one beam
    is greedy. `n_tokens` is how many a causal model adds; the others' limit follows from what they read.
    """

    sampling: bool
    beams: int = 1
    n_candidates: int = 1
    temperature: float = 1.0
    top_k: int = 0
    n_tokens: int = 0


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode on its device, and the tokens that pad and that end a text (none: it never ends)."""

    model: Any
    pad: int
    ends: list[int]


@lru_cache(maxsize=N_MODELS)
def load_model(
    origin: str, revision: str | None, *, causal: bool, device: str, pad: int | None, end: int | None
) -> Loaded:
    """Load a model in float32 from safetensors, from a folder or the hub; the last two of a process are kept.

    The tokenizer's tokens for padding and for the end are used where the model states none that it knows.

    Raises:
        ParamsError: if it cannot be loaded, or has no token that ends a text and needs one.
    """
    from transformers import GenerationConfig

    model, missing = load_weights("AutoModelForCausalLM" if causal else "AutoModelForSeq2SeqLM", origin, revision)
    if missing:
        raise ParamsError(
            f"model: {origin} must hold all weights of a {type(model).__name__}, got none for {missing[:3]}: "
            "they would be random. Choose a model of this kind that was saved whole."
        )
    model.eval().to(device)
    settings, size = model.generation_config, model.get_output_embeddings().weight.shape[0]
    stated = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    # A configuration may keep its family's default, a token that a smaller vocabulary does not have.
    ends = [token for token in stated if token is not None and token < size] or ([] if end is None else [end])
    if not ends and not causal:
        raise ParamsError(f"model: {origin} must have a token that ends a text, got none. Choose another model.")
    pads = [token for token in (settings.pad_token_id, pad, *ends, 0) if token is not None and token < size]
    kept = {name: getattr(settings, name, None) for name in KEPT_SETTINGS}
    model.generation_config = GenerationConfig(**kept, pad_token_id=pads[0], eos_token_id=ends or None)
    return Loaded(model, pads[0], ends)


def decode_batch(
    loaded: Loaded, rows: list[list[int]], decoding: Decoding, *,
    width: int, limits: Sequence[int], seeds: Sequence[int], first_token: int | None = None,
) -> list[list[list[int] | None]]:  # fmt: skip
    """Return for each row its candidates as token ids, best first, without the ending token.

    A candidate is None if it had not ended when the row's limit was reached; a causal model's stands as far as it got.

    Args:
        loaded: the model.
        rows: B lists of token ids.
        decoding: how texts are made.
        width: to how many tokens the rows are padded.
        limits: tokens that each row may get, its end included (B).
        seeds: of each row's draws (B); not used without sampling.
        first_token: what every text begins with, such as the code of its language.
    """
    model, causal = loaded.model, not loaded.model.config.is_encoder_decoder
    ids = np.full((len(rows), width), loaded.pad)  # (B, T)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        # A causal model goes on from the last place, so its rows are padded before the text.
        where = slice(width - len(row), None) if causal else slice(None, len(row))
        ids[number, where], mask[number, where] = row, 1
    n_before = width if causal else 1
    beams, n_candidates = (1, 1) if decoding.sampling else (decoding.beams, decoding.n_candidates)
    processors: list[Any] = []
    if decoding.sampling:
        processors.append(OwnDraws(seeds, max(limits), n_before, decoding.temperature, decoding.top_k))
    if not causal:
        processors.append(OwnLimits(np.repeat(limits, beams), n_before, loaded.ends[0]))
    with torch.inference_mode(), _quiet():
        made = model.generate(
            input_ids=torch.from_numpy(ids).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
            logits_processor=processors,
            do_sample=False,
            num_beams=beams,
            num_return_sequences=n_candidates,
            max_new_tokens=max(limits),  # of the batch; `OwnLimits` ends each row at its own
            early_stopping=False,
            length_penalty=1.0,
            **({} if first_token is None else {"forced_bos_token_id": first_token}),
        )
    candidates = [
        _until_end(row, loaded.ends, None if causal else limits[i // n_candidates])
        for i, row in enumerate(made[:, n_before:].tolist())
    ]
    return [candidates[start : start + n_candidates] for start in range(0, len(candidates), n_candidates)]


class OwnDraws:
    """Leaves of each row's scores the one token that the row's own generator draws."""

    def __init__(self, seeds: Sequence[int], n_steps: int, n_before: int, temperature: float, top_k: int) -> None:
        self.draws = np.stack([np.random.default_rng(seed).random(n_steps) for seed in seeds])  # (B, steps)
        self.n_before, self.temperature, self.top_k = n_before, temperature, top_k

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) that are 0 for the drawn token and -inf for the others."""
        step = input_ids.shape[1] - self.n_before
        tokens = None
        left = scores
        if 0 < self.top_k < scores.shape[1]:
            left, tokens = scores.topk(self.top_k)  # (B, K)
        # In float32 the sums of 50,000 probabilities end 4e-5 off 1 (NumPy's), 200 times what a median token weighs.
        cumulated = (left.double() / self.temperature).softmax(dim=-1).cumsum(dim=-1)
        draws = torch.from_numpy(self.draws[:, step, None]).to(scores.device) * cumulated[:, -1:]
        places = (cumulated <= draws).sum(dim=-1, keepdim=True).clamp(max=left.shape[1] - 1)  # (B, 1)
        drawn = places if tokens is None else tokens.gather(1, places)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)


class OwnLimits:
    """Ends each row where its own limit is reached."""

    def __init__(self, limits: Sequence[int] | np.ndarray, n_before: int, end: int) -> None:
        self.limits, self.n_before, self.end = torch.as_tensor(limits), n_before, end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) in which rows that may get one more token, or none, have but the end."""
        over = torch.nonzero(input_ids.shape[1] - self.n_before + 1 >= self.limits).flatten().to(scores.device)
        if not len(over):
            return scores
        ended = scores.clone()
        ended[over] = -torch.inf
        ended[over, self.end] = 0.0
        return ended


def _until_end(tokens: list[int], ends: list[int], limit: int | None) -> list[int] | None:
    """Return the tokens before the first end, or None if that stands only at the limit.

    >>> _until_end([5, 6, 2, 0], [2], 4), _until_end([5, 6, 7, 2], [2], 4), _until_end([5, 6], [2], None)
    ([5, 6], None, [5, 6])
    """
    length = next((position for position, token in enumerate(tokens) if token in ends), len(tokens))
    return None if limit is not None and length + 1 >= limit else tokens[:length]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from telling, for every batch, that settings of sampling mean nothing to greedy decoding."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
