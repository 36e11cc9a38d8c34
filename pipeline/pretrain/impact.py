"""What masking one word does to a masked language model's state of another: its words and trees, without any labels.

Source: Wu et al., Perturbed Masking, 2020, section 2 (Euclidean distance), https://arxiv.org/abs/2004.14786
Differs from the paper: the state of a word of several pieces is the mean of theirs. A copy in which two words are masked
tells the impact of each on the other, so N words take N (N + 1) / 2 copies instead of N squared.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.model_sources import check_length, locate
from pipeline.models.classifier import encoder_half
from pipeline.models.hub_checkpoints import load_checkpoint
from pipeline.models.prediction import outputs_of
from pipeline.models.tokenizing import Tokens, tokenize
from pipeline.pretrain.masks import NO_UNIT
from pipeline.pretrain.pieces import token_units
from pipeline.text.words import Span

TOKEN_BUDGET = 8192  # tokens per forward pass
THRESHOLD = 1.25  # best on tweets: F1 of 0.71 on which pieces are of one word, 0.68 if all are


@dataclass(frozen=True)
class Impact:
    """The impacts in a text of N words: `matrix` (N, N), float64, has at [i, j] that of word j on word i, 0 for i = j.

    `spans` say which characters each of them is.
    """

    spans: list[Span]
    matrix: np.ndarray


def load_masked_model(model: str) -> EncoderParts:
    """Load a checkpoint, by its folder or as `owner/name@<40-hex commit>`, that reads a token for what is masked.

    Raises:
        ParamsError: if there is none, it cannot be loaded, or it has no such token or no offsets.
    """
    transformers_logging.set_verbosity_error()  # it reports on stderr that the head's weights are not needed
    origin, revision = locate(model)
    parts = load_checkpoint(origin, revision=revision, max_length=1)
    if parts.tokenizer.mask_token_id is None or not parts.tokenizer.is_fast:
        lacks = (
            "mask token" if parts.tokenizer.is_fast else "tokenizer.json, which says where a token stands in its text"
        )
        text = f"model: {model} must have a {lacks}, got none. Take one that was pre-trained by masking, such as BERT."
        raise ParamsError(text, code="E204")
    backbone = encoder_half(parts.model).eval()
    return EncoderParts(backbone.to("cuda" if torch.cuda.is_available() else "cpu"), parts.tokenizer)


def impact(
    parts: EncoderParts,
    text: str,
    spans: Callable[[str], list[Span]] | None = None,
    *,
    token_budget: int = TOKEN_BUDGET,
) -> Impact:
    """Return the impacts of a text's words on one another.

    Args:
        parts: a masked language model, as `load_masked_model` returns it.
        spans: gives the words of a text, see `Masking`; None takes each token by itself. Words that share a token are one.
        token_budget: tokens per forward pass, halved when memory runs out.

    Raises:
        DataError: if the text has no word, or more tokens than the model has positions.
    """
    [tokens] = tokenize(parts.tokenizer, [text], None)
    try:
        check_length(len(tokens.ids), config=parts.model.config.to_dict(), origin="the model")
    except ParamsError as error:
        raise DataError(f"text: must fit into the model, got {len(tokens.ids)} tokens: {error}") from error
    words, members = _words_of_tokens(text, tokens, spans)
    if not words:
        raise DataError(f"text: must have a word, got {text!r}. Leave it out.")
    states = _MaskedStates(parts.model)
    alone, matrix = torch.empty(0), np.zeros((len(words), len(words)))
    each = np.repeat(np.arange(len(words))[:, None], 2, axis=1)
    pairs = np.stack(np.triu_indices(len(words), k=1), axis=1)  # (N (N - 1) / 2, 2)
    for masked in (each, pairs):
        copies = _Copies(tokens, members, masked, parts.tokenizer.mask_token_id)
        for rows, found in outputs_of(states, copies, token_budget) if len(masked) else ():
            if masked is each:
                alone = alone if len(alone) else torch.empty_like(found[:1, 0]).repeat(len(words), 1)  # (N, H)
                alone[rows] = found[:, 0]
                continue
            first, second = masked[rows].T
            moved = (found - alone[masked[rows]]).norm(dim=-1).double().cpu().numpy()  # (B, 2)
            matrix[first, second], matrix[second, first] = moved.T
    return Impact(words, matrix)


def _words_of_tokens(
    text: str, tokens: Tokens, spans: Callable[[str], list[Span]] | None
) -> tuple[list[Span], np.ndarray]:
    """Return the characters of each word that a row's tokens are of, and which tokens these are, bool (N, T)."""
    known = np.zeros((len(tokens.ids), 2), np.int32) if tokens.spans is None else tokens.spans
    offsets = [_stripped(text, begin - 1, end - 1) for begin, end in known.tolist()]  # of the row's axis
    own = [span for span, text_number in zip(offsets, tokens.sequences, strict=True) if text_number == 0]
    of_tokens = [span for span in dict.fromkeys(own) if span[0] < span[1]]
    units = token_units([text], known, spans or (lambda _: of_tokens))
    members = units == np.arange(units.max(initial=NO_UNIT) + 1)[:, None]  # (N, T)
    ends = [[offsets[place] for place in np.flatnonzero(of_word)] for of_word in members]
    return [_stripped(text, places[0][0], places[-1][1]) for places in ends], members


def _stripped(text: str, begin: int, end: int) -> Span:
    """Return [start, end) without the blanks at both ends, which some tokens hold."""
    part = text[begin:end]
    return begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())


@dataclass(frozen=True)
class _Copies:
    """Copies of a row of tokens, in each of which two words, or twice the same, are masked; see `prediction.outputs_of`."""

    tokens: Tokens
    members: np.ndarray
    masked: np.ndarray
    mask_token_id: int

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each copy (B,)."""
        return np.full(len(self.masked), len(self.tokens.ids))

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return what the encoder reads of some copies (B, T), and `of_words` (B, 2, T), which tokens are of the two."""
        of_words = self.members[self.masked[rows]]  # (B, 2, T)
        ids = np.where(of_words.any(axis=1), self.mask_token_id, self.tokens.ids)
        types = np.broadcast_to(self.tokens.types, ids.shape)
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types, "of_words": of_words}
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


class _MaskedStates(nn.Module):
    """The last layer's states of two words of each row, (B, 2, H): the means over their tokens."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        of_words = batch.pop("of_words").float()
        states: torch.Tensor = self.backbone(**batch).last_hidden_state.float()  # (B, T, H)
        return (of_words / of_words.sum(dim=-1, keepdim=True)) @ states  # (B, 2, H)


def join_words(impact: Impact, *, threshold: float) -> list[Span]:
    """Return the words that a text's tokens, or characters, make up: neighbours of much impact on one another are of one.

    Their mean impact on one another must be `threshold` times what each of them has on all words: told so, pieces of words
    were found with an AUC of 0.675 (splade-tiny, tweets), by the impacts themselves with 0.611. A blank ends a word.
    """
    after, others = np.arange(len(impact.spans) - 1), max(1, len(impact.spans) - 1)
    shares = impact.matrix / np.maximum(impact.matrix.sum(axis=0) / others, np.finfo(float).tiny)
    joined = (shares[after, after + 1] + shares[after + 1, after]) / 2 > threshold
    words = impact.spans[:1]
    for span, joins in zip(impact.spans[1:], joined, strict=True):
        if joins and words[-1][1] == span[0]:
            words[-1] = words[-1][0], span[1]
        else:
            words.append(span)
    return words


@dataclass
class Segmenter:
    """Cuts texts into the words that a masked language model knows of, each text once: that takes a second."""

    parts: EncoderParts
    threshold: float = THRESHOLD
    known: dict[str, list[Span]] = field(default_factory=dict)

    def words_of(self, text: str) -> list[Span]:
        """Return [start, end) of each word of a text, as whole-word masking asks for them."""
        if text not in self.known:
            [tokens] = tokenize(self.parts.tokenizer, [text], None)
            is_read = bool(_words_of_tokens(text, tokens, None)[0])  # not one of signs alone that the tokenizer drops
            self.known[text] = join_words(impact(self.parts, text), threshold=self.threshold) if is_read else []
        return self.known[text]
