"""Texts to token ids without padding, and rows to batches of like length: all functions of the seed and the epoch only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch

from pipeline.models.windows import window_tokens
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerFast

    from pipeline.params.encoders import Encoder

TOKENIZE_ROWS = 1000
# Special tokens written out in a text, such as "[SEP]", are split like any other characters.
TOKENIZE = {
    "return_token_type_ids": True, "return_special_tokens_mask": True, "split_special_tokens": True, "verbose": False,
}  # fmt: skip
WINDOW_BATCHES = 50
Truncation = Literal["head", "tail", "head_tail"] | float


class Inputs(Protocol):
    """Rows that become padded batches."""

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row (N,)."""

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the tensors that the model's forward takes, for rows (B,)."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of N rows, one after another: row i is `input_ids[starts[i]:starts[i + 1]]`.

    `spans` (tokens, 2) says which characters of its row a token stands for, as [start, end) on the row's axis: one place
    for the special tokens before the text, the text's characters, one place for the special tokens after it; of a pair the
    second text and one more place follow. None where the tokenizer gives no offsets.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    starts: np.ndarray
    pad_token_id: int
    n_truncated: int
    spans: np.ndarray | None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,), special tokens included."""
        return np.diff(self.starts)

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `token_type_ids`, int64 (B, T), padded on the right to the longest row."""
        mask, positions = padded_positions(self.starts, rows)
        ids = np.where(mask, self.input_ids[positions], self.pad_token_id)
        types = np.where(mask, self.token_type_ids[positions], 0)
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


def encode(
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str],
    text_pairs: Sequence[str] | None,
    *,
    max_length: int,
    truncation: Truncation,
    window: int | None = None,
    overlap: float = 0.0,
) -> Encoded:
    """Tokenize texts, or pairs of texts, to at most `max_length` tokens, special tokens included.

    `truncation` says which body tokens a too long row keeps: the first, the last, half from each end, or, as a number, that
    share from the beginning and the rest from the end. Of a pair the longer text is cut first. What is kept and longer than
    a `window` becomes windows, one after another (see `windows`).
    """
    pad = int(tokenizer.pad_token_id or 0)
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    n_truncated = 0
    for ids, types, spans, sequences in _tokenized(tokenizer, texts, text_pairs, pad):
        if len(ids) > max_length:
            kept = kept_tokens(sequences, max_length, truncation)
            ids, types, spans = ids[kept], types[kept], None if spans is None else spans[kept]
            sequences = sequences[kept]
            n_truncated += 1
        if window is not None and len(ids) > window:
            kept = window_tokens(sequences, window, overlap=overlap)
            ids, types, spans = ids[kept], types[kept], None if spans is None else spans[kept]
        rows.append((ids, types, spans))
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids, *_ in rows], dtype=np.int64)])
    known = [spans for *_, spans in rows if spans is not None]
    all_ids, all_types = np.concatenate([ids for ids, *_ in rows]), np.concatenate([types for _, types, _ in rows])
    return Encoded(all_ids, all_types, starts, pad, n_truncated, np.concatenate(known) if known else None)


def _tokenized(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], text_pairs: Sequence[str] | None, pad: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]]:
    """Yield each row whole: its ids, its types, its spans where the tokenizer gives offsets, and its tokens' sequences."""
    for start in range(0, len(texts), TOKENIZE_ROWS):
        chunk = slice(start, start + TOKENIZE_ROWS)
        pairs = None if text_pairs is None else list(text_pairs[chunk])
        batch = tokenizer(list(texts[chunk]), pairs, return_offsets_mapping=tokenizer.is_fast, **TOKENIZE)
        for row, text in enumerate(texts[chunk]):
            ids = np.array(batch["input_ids"][row], dtype=np.int32)
            types = np.array(batch["token_type_ids"][row], dtype=np.int8)
            sequences, spans = _sequences(tokenizer, batch, row, text), None
            if len(ids) == 0:  # an empty text, and a tokenizer that adds nothing of its own
                ids, types, sequences = np.array([pad], np.int32), np.zeros(1, np.int8), np.array([-1])
            if tokenizer.is_fast:
                offsets = np.array(batch["offset_mapping"][row] or [(0, 0)], dtype=np.int32)
                spans = row_spans(offsets, sequences, len(text), len(pairs[row]) if pairs else 0)
            yield ids, types, spans, sequences


def _sequences(tokenizer: "PreTrainedTokenizerFast", batch: "BatchEncoding", row: int, text: str) -> np.ndarray:
    """Return for each token 0 or 1, the text it comes from, or -1 for a special token."""
    if tokenizer.is_fast:
        return np.array([-1 if sequence is None else sequence for sequence in batch.sequence_ids(row)], dtype=np.int8)
    body = np.array(batch["special_tokens_mask"][row], dtype=np.int8) == 0
    n_first = len(tokenizer.tokenize(text, split_special_tokens=True))
    return np.where(body, np.cumsum(body) > n_first, -1).astype(np.int8)


def row_spans(offsets: np.ndarray, sequences: np.ndarray, n_first: int, n_second: int) -> np.ndarray:
    """Return offsets (tokens, 2) within each text as spans on the row's axis (see `Encoded`).

    >>> row_spans(np.array([[0, 0], [0, 2], [0, 0], [0, 1], [0, 0]]), np.array([-1, 0, -1, 1, -1]), 2, 1).tolist()
    [[0, 1], [1, 3], [3, 4], [4, 5], [5, 6]]
    """
    spans = offsets + 1 + (sequences == 1)[:, None] * (1 + n_first)
    # A special token stands before the first text, after the first or after the second.
    places = np.array([0, 1 + n_first, 2 + n_first + n_second])[np.maximum.accumulate(sequences) + 1]
    return np.where((sequences == -1)[:, None], places[:, None] + [0, 1], spans).astype(np.int32)


def kept_tokens(sequences: np.ndarray, max_length: int, truncation: Truncation) -> np.ndarray:
    """Return the positions of a too long row that stay: all special tokens, and of each body what the policy keeps."""
    kept = sequences == -1
    bodies = [np.flatnonzero(sequences == sequence) for sequence in (0, 1)]
    budgets = _budgets(len(bodies[0]), len(bodies[1]), max_length - int(kept.sum()))
    head_ratio = {"head": 1.0, "tail": 0.0, "head_tail": 0.5}.get(str(truncation), truncation)
    for body, budget in zip(bodies, budgets, strict=True):
        n_tail = int(budget * (1 - float(head_ratio)))
        kept[body[: budget - n_tail]] = True
        kept[body[len(body) - n_tail :]] = True
    return np.flatnonzero(kept)


def _budgets(first: int, second: int, budget: int) -> tuple[int, int]:
    """Return how many body tokens of each text fit, cutting the longer one first.

    >>> _budgets(10, 0, 6), _budgets(10, 2, 6), _budgets(10, 9, 7)
    ((6, 0), (4, 2), (4, 3))
    """
    shorter = min(first, second, budget // 2)
    return (min(first, budget - shorter), shorter) if first >= second else (shorter, min(second, budget - shorter))


def epoch_batches(lengths: np.ndarray, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the batches of an epoch: each row once, rows of like length together, batches in random order.

    Rows are shuffled, sorted by length within windows of 50 batches, cut, and the batches shuffled again.
    """
    generator = np.random.default_rng(derive_seed(seed, "order", epoch))
    order = generator.permutation(len(lengths))
    window = batch_size * WINDOW_BATCHES
    parts = [order[start : start + window] for start in range(0, len(order), window)]
    ordered = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    return [batches[position] for position in generator.permutation(len(batches))]


def micro_batches(rows: np.ndarray, lengths: np.ndarray, *, token_budget: int) -> Iterator[np.ndarray]:
    """Cut rows into parts, longest first, whose padded size (rows x longest) is at most the budget; one row always fits."""
    ordered = rows[np.argsort(-lengths[rows], kind="stable")]
    start = 0
    while start < len(ordered):
        size = max(1, token_budget // int(lengths[ordered[start]]))
        yield ordered[start : start + size]
        start += size


def padded_positions(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for rows of ragged tokens, the mask (B, T) of what is no padding and each place (B, T), 0 in padding."""
    lengths = np.diff(starts)[rows]
    columns = np.arange(lengths.max())
    mask = columns < lengths[:, None]  # (B, T)
    return mask, np.where(mask, starts[rows][:, None] + columns, 0)


def encode_rows(tokenizer: Any, rows: pd.DataFrame, settings: "Encoder") -> Encoded:
    """Tokenize the texts, or pairs, of rows as the encoder's settings say."""
    pairs = None if rows["text_pair"].isna().all() else rows["text_pair"].fillna("").tolist()
    cut: dict[str, Any] = {"max_length": settings.max_length, "truncation": settings.truncation}
    cut |= {"window": settings.window, "overlap": settings.window_overlap}
    return encode(tokenizer, rows["text"].tolist(), pairs, **cut)
