"""The states of one encoder on the tokens of another: through the characters of the text that both tokens stand for.

Source: Kim, Convolutional Neural Networks for Sentence Classification, 2014, section 3.1 (several embeddings of a word side
by side), https://arxiv.org/abs/1408.5882
Differs from the paper: the vectors are of subword tokens that the two encoders cut differently.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from pipeline.models.batching import Encoded, Truncation, kept_tokens, padded_positions
from pipeline.models.tokenizing import row_spans
from pipeline.text.words import HAN

# How a text is cut, finest first: characters, words with each Chinese character by itself, words. Blanks are pieces too,
# for tokenizers that read them. A line's end belongs to the word before it, as in CTRL, BERTweet and PhoBERT.
CUTS = [re.compile(cut) for cut in (r"(?s:.)", rf"([{HAN}]|[^\s{HAN}]+)\n?|\s+", r"(\S+)\n?|\s+")]
CACHED_PIECES = 100_000
PieceIds = Callable[[str], list[int]]


@dataclass(frozen=True)
class Alignment:
    """Which tokens of the other encoder each token of the frame receives, and with what weight, over N rows.

    Token t of the frame receives `source[indptr[t]:indptr[t + 1]]`, ascending, each counted within its row.

    Attributes:
        indptr: int64 (tokens of the frame + 1,).
        source: int32 (pairs,).
        weight: float32 (pairs,), above 0; those of a token sum to 1.
    """

    indptr: np.ndarray
    source: np.ndarray
    weight: np.ndarray


def align(frame: Encoded, other: Encoded) -> Alignment:
    """Give each token of the frame the other's tokens that share characters with it, weighted by how many they share.

    Where a row's spans are the same in both, token i gets token i and nothing else: the byte tokens of one emoji share
    their span and stay apart. A token with no character in common with any gets nothing.

    Raises:
        ValueError: if a tokenizer gave no spans, or the numbers of rows differ.
    """
    if frame.spans is None or other.spans is None:
        raise ValueError("align: both sides must have spans, got None. Make them by word_spans.")
    if (n_rows := len(frame.lengths)) != (n_others := len(other.lengths)):
        raise ValueError(
            f"align: both sides must have the same rows, got {n_rows} and {n_others}. Encode the same texts."
        )
    targets, others = _on_one_axis(frame, frame.spans, other, other.spans)
    n_targets = len(targets)
    # Spans need be neither sorted nor disjoint: of the tokens in the order of their starts, those before `first` end too
    # early, those from `last` on start too late, and of those between some may still miss.
    order = np.argsort(others[:, 0], kind="stable")
    others = others[order]
    first = np.searchsorted(np.maximum.accumulate(others[:, 1]), targets[:, 0], side="right")
    last = np.searchsorted(others[:, 0], targets[:, 1], side="left")
    counts = np.maximum(last - first, 0)
    target, candidate = np.repeat(np.arange(n_targets), counts), _ranges(first, counts)
    ends = np.minimum(targets[target, 1], others[candidate, 1])
    overlap = ends - np.maximum(targets[target, 0], others[candidate, 0])
    shared = overlap > 0
    target, source, overlap = target[shared], order[candidate[shared]], overlap[shared]
    if (order[1:] < order[:-1]).any():
        ascending = np.lexsort((source, target))
        target, source, overlap = target[ascending], source[ascending], overlap[ascending]
    rows = np.repeat(np.arange(len(frame.lengths)), frame.lengths)
    return Alignment(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(target, minlength=n_targets))]),
        source=(source - other.starts[rows[target]]).astype(np.int32),
        weight=(overlap / np.bincount(target, overlap, n_targets)[target]).astype(np.float32),
    )


def _on_one_axis(
    frame: Encoded, frame_spans: np.ndarray, other: Encoded, other_spans: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides' spans, int64 (tokens, 2), with the rows one after another on one axis.

    In rows whose spans are the same, token i stands at [i, i + 1) instead.
    """
    rows, positions = _rows_and_positions(frame.lengths)
    other_rows, other_positions = _rows_and_positions(other.lengths)
    same = frame.lengths == other.lengths
    mine = same[rows]
    theirs = other.starts[rows[mine]] + positions[mine]
    same[rows[mine][(frame_spans[mine] != other_spans[theirs]).any(axis=1)]] = False
    width = 1 + max(int(values.max(initial=0)) for values in (frame_spans, other_spans, frame.lengths))
    frame_spans = np.where(same[rows, None], positions[:, None] + [0, 1], frame_spans)
    other_spans = np.where(same[other_rows, None], other_positions[:, None] + [0, 1], other_spans)
    return frame_spans + width * rows[:, None], other_spans + width * other_rows[:, None]


def _rows_and_positions(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each token its row and its position in the row."""
    return np.repeat(np.arange(len(lengths)), lengths), _ranges(np.zeros_like(lengths), lengths)


def _ranges(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the ranges of `counts` numbers from each of `firsts` on, one after another.

    >>> _ranges(np.array([5, 0, 8]), np.array([2, 0, 3])).tolist()
    [5, 6, 8, 9, 10]
    """
    ends = np.cumsum(counts)
    return np.repeat(firsts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def batch_index(
    alignment: Alignment, frame_starts: np.ndarray, rows: np.ndarray, *, frame_length: int, other_length: int
) -> dict[str, torch.Tensor]:
    """Return the pairs of tokens of a batch of rows (B,), padded on the right to so many tokens, for `gather_states`.

    `target` and `source`, int64 (pairs,), are positions in B x frame_length and B x other_length, `target` ascending;
    `weight` is float32 (pairs,).

    Raises:
        ValueError: if a row has more tokens than it is padded to.
    """
    mask, tokens = padded_positions(frame_starts, rows)
    counts = np.where(mask, alignment.indptr[tokens + 1] - alignment.indptr[tokens], 0)  # (B, T)
    places = np.arange(len(rows))[:, None] * frame_length + np.arange(mask.shape[1])  # (B, T)
    pairs = _ranges(alignment.indptr[frame_starts[rows]], counts.sum(axis=1))
    source = alignment.source[pairs]
    if mask.shape[1] > frame_length or source.max(initial=0) >= other_length:
        raise ValueError(
            f"batch_index: rows must be padded to at least {mask.shape[1]} and {source.max(initial=0) + 1} tokens, got "
            f"frame_length {frame_length} and other_length {other_length}. Give the widths of the two padded batches."
        )
    return {
        "target": torch.from_numpy(np.repeat(places.ravel(), counts.ravel())),
        "source": torch.from_numpy(source + np.repeat(np.arange(len(rows)) * other_length, counts.sum(axis=1))),
        "weight": torch.from_numpy(alignment.weight[pairs]),
    }


def gather_states(
    states: torch.Tensor,
    target: torch.Tensor,
    source: torch.Tensor,
    weight: torch.Tensor,
    *,
    shape: tuple[int, int],
    mode: Literal["mean", "max", "first"],
) -> torch.Tensor:
    """Return the states on the frame's tokens (B, T, H): float64 if they are, else float32; zeros where nothing is received.

    `states` are float (B, T of the other, H), the pairs those of `batch_index`, `shape` is B and T of the frame, padded.
    `mode`: the weighted mean of what a token receives, the largest value of each hidden unit, or the first token's state.

    >>> states = torch.tensor([[[1.0], [5.0], [9.0]]])
    >>> pairs = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), torch.tensor([0.75, 0.25, 1.0])
    >>> [gather_states(states, *pairs, shape=(1, 3), mode=mode).flatten().tolist() for mode in ("mean", "max", "first")]
    [[2.0, 9.0, 0.0], [5.0, 9.0, 0.0], [1.0, 9.0, 0.0]]
    """
    n_targets, size = shape[0] * shape[1], states.shape[-1]
    flat = states.reshape(-1, size).to(torch.promote_types(states.dtype, torch.float32))
    if mode == "max":
        # Not embedding_bag's own maximum, whose gradient on a GPU changes from run to run.
        received = functional.embedding(source, flat)  # (pairs, H)
        index = target.unsqueeze(-1).expand_as(received)
        largest = flat.new_zeros(n_targets, size).scatter_reduce(0, index, received, "amax", include_self=False)
        return largest.view(*shape, size)
    if mode == "first":
        is_first = target != functional.pad(target, (1, 0), value=-1)[:-1]
        target, source, weight = target[is_first], source[is_first], torch.ones_like(weight[is_first])
    # index_add is the same and six times slower on a CPU.
    offsets = torch.searchsorted(target, torch.arange(n_targets, device=target.device))
    mean = functional.embedding_bag(source, flat, offsets, mode="sum", per_sample_weights=weight.to(flat.dtype))
    return mean.view(*shape, size)


def word_spans(
    tokenizer: Any,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None,
    encoded: Encoded,
    *,
    truncation: Truncation,
) -> np.ndarray:
    """Return `spans` for a tokenizer that gives no offsets: each token stands for its word, or at worst for its whole text.

    `encoded` is what `batching.encode` made, with this `truncation`, of N texts, or of N pairs.

    Raises:
        ValueError: if the ids are not this tokenizer's for these texts.
    """
    piece_ids = lru_cache(CACHED_PIECES)(partial(_ids, tokenizer))
    spans = []
    for row, text in enumerate(texts):
        parts = [text] if text_pairs is None else [text, text_pairs[row]]
        row_ids = encoded.input_ids[encoded.starts[row] : encoded.starts[row + 1]]
        full_ids, sequences, full_spans = _full_row(tokenizer, parts, piece_ids)
        cut = len(row_ids) < len(full_ids)
        kept = kept_tokens(sequences, len(row_ids), truncation) if cut else np.arange(len(full_ids))
        body = sequences[kept] != -1
        if len(kept) != len(row_ids) or (full_ids[kept] != row_ids)[body].any():
            raise ValueError(
                f"word_spans: row {row} must hold the tokenizer's ids of its text, got others. Give the tokenizer, texts "
                f"and truncation (got {truncation!r}) with which it was encoded."
            )
        spans.append(full_spans[kept])
    return np.concatenate(spans)


def _full_row(tokenizer: Any, texts: list[str], piece_ids: PieceIds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids (0 for special tokens), sequences (see `batching`) and spans of one or two texts before truncation."""
    body = [_ids(tokenizer, text) for text in texts]
    special = np.array(tokenizer.get_special_tokens_mask(*body) or [1], dtype=np.bool_)
    sequences = np.where(special, -1, np.cumsum(~special) > len(body[0])).astype(np.int8)
    ids, offsets = np.zeros(len(special), np.int32), np.zeros((len(special), 2), np.int32)
    ids[~special] = list(chain.from_iterable(body))
    offsets[~special] = np.concatenate(
        [_offsets(*text_and_ids, piece_ids) for text_and_ids in zip(texts, body, strict=True)]
    )
    return ids, sequences, row_spans(offsets, sequences, len(texts[0]), len("".join(texts[1:])))


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text, split_special_tokens=True))
    return ids


def _offsets(text: str, ids: list[int], piece_ids: PieceIds) -> np.ndarray:
    """Return for each id of a text [start, end) of the piece it belongs to, by the finest cut that gives these ids."""
    for cut in CUTS:
        pieces = list(cut.finditer(text))
        ids_of_pieces = [piece_ids(piece.group()) for piece in pieces]
        if list(chain.from_iterable(ids_of_pieces)) == ids:
            spans = np.array([piece.span(piece.lastindex or 0) for piece in pieces], np.int32).reshape(-1, 2)
            return np.repeat(spans, [*map(len, ids_of_pieces)], axis=0)
    return np.tile(np.array([0, len(text)], np.int32), (len(ids), 1))
