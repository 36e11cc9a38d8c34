"""Texts to token ids without padding, and rows to batches of like length: all functions of the seed and the epoch only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.tokenizing import Tokens, tokenize
from pipeline.models.windows import window_tokens
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipeline.params.encoders import Encoder

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
    budgets: Mapping[int, int | float] | None = None,
    chat: bool = False,
) -> Encoded:
    """Tokenize texts, or pairs of texts, to at most `max_length` tokens, special tokens included.

    `truncation` says which tokens of a body, or of a field of it, a too long row keeps: the first, the last, half from each
    end, or, as a number, that share from the beginning and the rest from the end; `budgets` how many, by the number of the
    field (see `divide`), otherwise the longest is cut first. What is kept and longer than a `window` becomes windows, one
    after another (see `windows`). With `chat` the tokenizer's chat template stands around the texts.

    Raises:
        ParamsError: if what is never cut is longer than `max_length` by itself.
    """
    rows: list[Tokens] = []
    n_truncated = 0
    has_maxima = any(isinstance(budget, int) for budget in (budgets or {}).values())
    for row in tokenize(tokenizer, texts, text_pairs, chat=chat):
        cut = row
        if len(row.ids) > max_length or has_maxima:
            cut = row.take(kept_tokens(row.fields, max_length, truncation, budgets))
            n_truncated += len(cut.ids) < len(row.ids)
        if window is not None and len(cut.ids) > window:
            cut = cut.take(window_tokens(cut.sequences, window, overlap=overlap))
        rows.append(cut)
    starts = np.concatenate([[0], np.cumsum([len(row.ids) for row in rows], dtype=np.int64)])
    known = [row.spans for row in rows if row.spans is not None]
    ids, types = np.concatenate([row.ids for row in rows]), np.concatenate([row.types for row in rows])
    pad = int(tokenizer.pad_token_id or 0)
    return Encoded(ids, types, starts, pad, n_truncated, np.concatenate(known) if known else None)


def kept_tokens(
    fields: np.ndarray, max_length: int, truncation: Truncation, budgets: Mapping[int, int | float] | None = None
) -> np.ndarray:
    """Return the positions of a row's tokens that stay: all that belong to no field, -1, and of each what the policy keeps.

    Raises:
        ParamsError: if those of no field are more than `max_length`.
    """
    kept = fields == -1
    if (room := max_length - int(kept.sum())) < 0:
        raise ParamsError(
            f"max_length: must hold the {kept.sum()} tokens of the template that are never cut, got {max_length}. Raise it."
        )
    bodies = [np.flatnonzero(fields == number) for number in range(int(fields.max(initial=-1)) + 1)]
    head_ratio = {"head": 1.0, "tail": 0.0, "head_tail": 0.5}.get(str(truncation), truncation)
    for body, budget in zip(bodies, divide([len(body) for body in bodies], room, budgets or {}), strict=True):
        n_tail = int(budget * (1 - float(head_ratio)))
        kept[body[: budget - n_tail]] = True
        kept[body[len(body) - n_tail :]] = True
    return np.flatnonzero(kept)


def divide(lengths: Sequence[int], room: int, budgets: Mapping[int, int | float]) -> list[int]:
    """Return how many tokens of each field stay, of which together `room` fit.

    A budget is a share of the room that a field gets if it is that long, or as an int the most that it ever gets. Fields
    without a share have equal parts of what the shares leave. What a field does not need goes to the others by their shares.

    >>> divide([10, 2], 6, {}), divide([10, 9], 7, {}), divide([9, 9], 10, {0: 0.2}), divide([9, 1], 8, {0: 3})
    ([4, 2], [4, 3], [2, 8], [3, 1])
    """
    needed = [min(n, b) if isinstance(b := budgets.get(i, n), int) else n for i, n in enumerate(lengths)]
    if sum(needed) <= room:
        return needed
    shares = {i: b for i, b in budgets.items() if isinstance(b, float)}
    n_others = max(len(lengths) - len(shares), 1)
    waiting = {i: shares.get(i, max(0.0, 1 - sum(shares.values())) / n_others) for i, n in enumerate(needed) if n}
    given = [0] * len(lengths)
    while waiting:
        total = sum(waiting.values())
        parts = {i: int(room * (w / total if total else 1 / len(waiting)) + 1e-9) for i, w in waiting.items()}
        filled = [i for i, part in parts.items() if needed[i] <= part]
        for i in filled or waiting:
            given[i] = min(needed[i], parts[i])
        room -= sum(given[i] for i in filled or waiting)
        if not filled:
            break
        waiting = {i: w for i, w in waiting.items() if i not in filled}
    for i in sorted(waiting, key=lambda i: -needed[i])[:room]:
        given[i] += 1
    return given


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
    cut |= {"window": settings.window, "overlap": settings.window_overlap, "chat": settings.chat_template}
    budgets = {int(number): budget for number, budget in settings.field_budgets.items()}
    return encode(tokenizer, rows["text"].tolist(), pairs, **cut, budgets=budgets)
