"""Replaced token detection: a small generator fills in masked tokens, the encoder tells which tokens are not the text's own.

Source: Clark et al., ELECTRA, 2020, section 3, https://arxiv.org/abs/2003.10555
Differs from the paper: the generator shares the embeddings of tokens, projected to its width where that is another, and
has positions of its own; it always begins anew.
"""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain.drawn import IGNORED, Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import mask_token, notes_on
from pipeline.pretrain.masks import Masks, uniform
from pipeline.pretrain.pieces import pieces_of
from pipeline.pretrain.pretext import Masking, Start
from pipeline.ranges import PositiveFloat, Share
from pipeline.reproducibility import derive_seed

LOADER = "AutoModelForMaskedLM"
WITH_HEAD = "electra"  # the family whose pre-training form is an encoder with a head that tells what was replaced
INNER_WIDTHS = ("intermediate_size", "hidden_dim", "d_inner", "ffn_dim")


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    seed: int,
    generator_ratio: Share = 0.25,
    detection_weight: PositiveFloat = 50.0,
) -> DrawnPretext:
    """Put a head and, beside it, a generator of the same family on the encoder, which alone is saved.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens are masked together.
        mask_ratio: share of tokens that the generator fills in.
        max_length: tokens per row.
        seed: of the masks, of what the generator fills in, and of the new weights.
        generator_ratio: its width and heads, as a share of the encoder's.
        detection_weight: how much the encoder's loss counts beside the generator's.

    Raises:
        ParamsError: if the source cannot learn by masks, has a decoder, or no generator of that width can be built.
    """
    model, _ = start.load(LOADER)
    encoder, head, new = model.base_model, None, list[str]()
    if encoder.config.is_encoder_decoder:
        raise ParamsError(
            f"pretrain.pretext: an encoder by itself must be what tells tokens, got {start.origin}, whose model_type "
            f"{encoder.config.model_type!r} has a decoder too. Take another source, or another pretext."
        )
    kept = encoder
    if encoder.config.model_type == WITH_HEAD:
        kept, new = start.load("AutoModelForPreTraining")
        encoder, head = kept.base_model, kept.discriminator_predictions
    notes = [*notes_on(start, new), "the generator is new: what it fills in is chance at first"]
    detector = Detector(encoder, head, generator_ratio, derive_seed(seed, "generator"))
    rows_of = partial(masked_rows, start=start, masking=masking, mask_ratio=mask_ratio, max_length=max_length)
    losses = {"loss": ("tokens", detection_weight), "generator_loss": ("labels_at_places", 1.0)}
    return DrawnPretext(detector, kept, start.tokenizer, rows_of, losses, notes)


def masked_rows(
    texts: Sequence[str], seed: int, *, start: Start, masking: Masking, mask_ratio: float, max_length: int
) -> tuple[np.ndarray, Draw]:
    """Return the tokens of rows, and how they are drawn: with masks, and of what is to be put there a draw in [0, 1)."""
    mask_id, pieces = mask_token(start), pieces_of(start.tokenizer, texts, max_length=max_length, spans=masking.spans)
    masks, fills = Masks(masking, mask_ratio, seed), derive_seed(seed, "fills")

    def draw(rows: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
        batch = pieces.encoded.batch(rows)
        ids, chosen = batch["input_ids"], torch.from_numpy(masks.chosen(pieces.units_of(rows), rows, epoch))
        draws = torch.from_numpy(uniform(fills, epoch, rows[:, None], np.arange(ids.shape[1])))
        places = chosen.flatten().nonzero()[:, 0]
        at_places = {"places": places, "labels_at_places": ids[chosen], "draws": draws[chosen]}
        tokens = ids.masked_fill(batch["attention_mask"] == 0, IGNORED)
        return {**batch, **at_places, "input_ids": ids.masked_fill(chosen, mask_id), "tokens": tokens}

    return pieces.encoded.lengths, draw


class Detector(nn.Module):
    """An encoder with a head that tells which tokens were replaced, and the generator that replaced them."""

    def __init__(self, encoder: Any, head: nn.Module | None, generator_ratio: float, seed: int) -> None:
        super().__init__()
        width, embeddings = encoder.config.hidden_size, encoder.get_input_embeddings()
        size = embeddings.embedding_dim
        self.encoder, self.accepted = encoder, frozenset(inspect.signature(encoder.forward).parameters)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = head or nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1), nn.Flatten(1))
            self.generator = generator_of(encoder, generator_ratio)
            own, narrow = self.generator.get_input_embeddings().embedding_dim, self.generator.config.hidden_size
            self.projection = nn.Identity() if own == size else nn.Linear(size, own)
            self.transform = nn.Sequential(nn.Linear(narrow, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))
        # It reads the encoder's embeddings instead.
        self.generator.set_input_embeddings(nn.Embedding(1, own).requires_grad_(False))

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        embeddings, places, tokens = self.encoder.get_input_embeddings(), batch["places"], batch["tokens"]
        vectors = self.projection(embeddings(batch["input_ids"]))  # (B, T, E)
        inputs = {name: batch[name] for name in ("attention_mask", "token_type_ids") if name in self.accepted}
        states = self.generator(inputs_embeds=vectors, **inputs).last_hidden_state.flatten(0, 1)[places]  # (M, H)
        logits = linear(self.transform(states), embeddings.weight, self.bias)  # (M, V)
        filled = sampled(logits.detach(), batch["draws"])  # (M,)
        ids = batch["input_ids"].flatten().index_copy(0, places, filled).view_as(tokens)  # (B, T)
        is_real = tokens != IGNORED
        is_replaced = (ids != tokens)[is_real]  # 0 also where the generator hit the text's own token
        detected = self.head(self.encoder(input_ids=ids, **inputs).last_hidden_state)[is_real].float()
        loss = binary_cross_entropy_with_logits(detected, is_replaced.float(), reduction="sum")
        right, said = (detected > 0) == is_replaced, detected > 0
        generated = told(logits, batch["labels_at_places"])
        return {
            "loss": (loss, is_real.sum()),
            "accuracy": (right.sum(), is_real.sum()),
            "f1": (2 * (said & is_replaced).sum(), said.sum() + is_replaced.sum()),
            **{f"generator_{name}": measure for name, measure in generated.items()},
        }


def sampled(logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return tokens (M,), int64, from the distributions of logits (M, V), each for a draw in [0, 1), float64 (M,).

    Sums of whole numbers, because on a GPU those of others change from run to run.

    >>> sampled(torch.tensor([[0.0, 0.0, -99.0, 0.0]]).expand(4, 4), torch.tensor([0.0, 0.3, 0.4, 0.99])).tolist()
    [0, 0, 1, 3]
    """
    shares = (logits.float().softmax(dim=-1) * 2**30).to(torch.int32).cumsum(dim=-1, dtype=torch.int32)
    wanted = (draws[:, None] * shares[:, -1:]).to(torch.int32)
    return torch.searchsorted(shares, wanted, right=True)[:, 0]


def generator_of(encoder: Any, ratio: float) -> Any:
    """Return a model with random weights, of an encoder's family and depth, about so many times as wide.

    Raises:
        ParamsError: if the family has none.
    """
    from transformers import AutoModel

    config = deepcopy(encoder.config)
    n_heads = max(1, round(ratio * config.num_attention_heads))
    wide = config.hidden_size
    try:
        config.hidden_size = n_heads * (wide // config.num_attention_heads)
        config.num_attention_heads = n_heads
        for name in INNER_WIDTHS:
            if hasattr(config, name):
                setattr(config, name, getattr(config, name) * config.hidden_size // wide)
        return AutoModel.from_config(config, dtype=torch.float32)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ParamsError(
            f"pretrain.pretext: cannot build a generator of model_type {config.model_type!r}, {config.hidden_size} wide: "
            f"{error}. Set generator_ratio: 1, or take another pretext."
        ) from error
