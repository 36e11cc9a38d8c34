"""What masking one word does to a masked language model's state of another: its words and trees, without any labels.

Source: Wu et al., Perturbed Masking, 2020, section 2 (Euclidean distance), https://arxiv.org/abs/2004.14786
Differs from the paper: the state of a word of several pieces is the mean of theirs. A copy in which two words are masked
tells the impact of each on the other, so N words take N (N + 1) / 2 copies instead of N squared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from pipeline.text.words import Span

TOKEN_BUDGET = 8192  # tokens per forward pass
THRESHOLD = 1.25  # best on tweets: F1 of 0.71 on which pieces are of one word, 0.68 if all are


@dataclass(frozen=True)
class Impact:
    """The impacts in a text of N words: `matrix` (N, N), float64, has at [i, j] that of word j on word i, 0 for i = j.

    `spans` say which characters each of them is.
    """

    spans: "list[Span]"
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
    parts: EncoderParts, text: str, words: "Sequence[Span] | None" = None, *, token_budget: int = TOKEN_BUDGET
) -> Impact:
    """Return the impacts of a text's words on one another.

    Args:
        parts: a masked language model, as `load_masked_model` returns it.
        words: their [start, end), in order; None takes each token by itself. Words that share a token are one; what is of no
            word stays unmasked.
        token_budget: padded tokens per forward pass, halved when memory runs out.

    Raises:
        DataError: if the text has no word, or more tokens than the model has positions.
    """
    [tokens] = tokenize(parts.tokenizer, [text], None)
    try:
        check_length(len(tokens.ids), config=parts.model.config.to_dict(), origin="the model")
    except ParamsError as error:
        raise DataError(f"text: must fit into the model, got {len(tokens.ids)} tokens: {error}") from error
    spans, places = _masked_together(text, tokens, words)
    if not spans:
        raise DataError(f"text: must have a word, got {text!r}. Leave it out.")
    n_words, states = len(spans), _MaskedStates(parts.model)
    members = np.stack([np.isin(np.arange(len(tokens.ids)), own) for own in places])  # (N, T)
    singles = np.repeat(np.arange(n_words)[:, None], 2, axis=1)
    pairs = np.stack(np.triu_indices(n_words, k=1), axis=1)  # (N (N - 1) / 2, 2)
    alone = torch.empty(0)
    matrix = np.zeros((n_words, n_words))
    for masked in (singles, pairs):
        for rows, found in outputs_of(
            states, _Copies(tokens, members, masked, parts.tokenizer.mask_token_id), token_budget
        ):
            if masked is singles:
                alone = found.new_empty(n_words, found.shape[-1]) if not len(alone) else alone
                alone[rows] = found[:, 0]
                continue
            moved = (found - alone[masked[rows]]).norm(dim=-1).double().cpu().numpy()  # (B, 2)
            first, second = masked[rows].T
            matrix[first, second], matrix[second, first] = moved.T
    return Impact(spans, matrix)


def _masked_together(
    text: str, tokens: Tokens, words: "Sequence[Span] | None"
) -> "tuple[list[Span], list[np.ndarray]]":
    """Return the characters of what is masked together, and the places of its tokens: words, by characters shared."""
    body = np.flatnonzero(tokens.sequences == 0)
    offsets = (tokens.spans - 1 if tokens.spans is not None else np.zeros((0, 2), int))[body]  # of the row's axis
    stripped = [(begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())) for begin, part in (
        (int(begin), text[begin:end]) for begin, end in offsets)]  # fmt: skip
    found = list(words) if words is not None else [span for span in dict.fromkeys(stripped) if span[0] < span[1]]
    spans: list[Span] = []
    places: list[list[int]] = []
    for start, end in found:
        own = [int(place) for place, (b, e) in zip(body, stripped, strict=True) if b < end and start < e]
        if places and own and own[0] <= places[-1][-1]:
            spans[-1], own = (spans[-1][0], end), sorted({*places.pop(), *own})
            places.append(own)
        elif own:
            spans.append((start, end))
            places.append(own)
    return spans, [np.array(own) for own in places]


@dataclass(frozen=True)
class _Copies:
    """Copies of a row of tokens, in each of which two words, or twice the same, are masked; see `prediction.outputs_of`."""

    tokens: Tokens
    members: np.ndarray
    masked: np.ndarray
    mask_token_id: int

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.masked), len(self.tokens.ids))

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
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


def join_words(impact: Impact, *, threshold: float) -> "list[Span]":
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
    known: "dict[str, list[Span]]" = field(default_factory=dict)

    def words_of(self, text: str) -> "list[Span]":
        """Return [start, end) of each word of a text, as whole-word masking asks for them."""
        if text not in self.known:
            self.known[text] = join_words(impact(self.parts, text), threshold=self.threshold)
        return self.known[text]
