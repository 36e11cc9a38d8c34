"""Long texts in windows: which tokens each window has, and how a batch of rows becomes one of windows and back.

A row of several windows is all of them one after another, each of the same size and with special tokens of its own; so
everything that reads rows of tokens reads such rows too, and only the encoder, and a pooling, see single windows.
"""

from dataclasses import dataclass

import numpy as np
import torch


def window_tokens(sequences: np.ndarray, size: int, *, overlap: float) -> np.ndarray:
    """Return the positions of the tokens of a row longer than a window, window after window, each of `size`.

    The longer text is cut into windows, the last of which ends where it ends; special tokens stand in all of them, and so
    does the shorter text of a pair, up to half of a window.

    Args:
        sequences: of each token the text it comes from, 0 or 1, or -1 for a special token.
        size: tokens per window.
        overlap: share of a window's text that stands in the next one too, in [0, 1).

    >>> window_tokens(np.array([-1, 0, 0, 0, 0, 0, -1]), 5, overlap=0.0).tolist()
    [0, 1, 2, 3, 6, 0, 3, 4, 5, 6]
    """
    special = np.flatnonzero(sequences == -1)
    shorter, longer = sorted((np.flatnonzero(sequences == number) for number in (0, 1)), key=len)
    fixed = np.concatenate([special, shorter[: (size - len(special)) // 2]])
    room = size - len(fixed)
    step = max(1, room - int(overlap * room))
    starts = [*range(0, len(longer) - room, step), len(longer) - room]
    return np.concatenate([np.sort(np.concatenate([fixed, longer[start : start + room]])) for start in starts])


@dataclass(frozen=True)
class Windows:
    """The windows of a batch: W of S tokens in each of B rows, of which those that are not empty are `kept`, (n,)."""

    n_rows: int
    n_tokens: int
    size: int
    filled: torch.Tensor

    @classmethod
    def of(cls, attention_mask: torch.Tensor, size: int) -> "Windows":
        """Return the windows of a mask (B, T); the last one is filled up where T is no multiple of `size`."""
        n_rows, n_tokens = attention_mask.shape
        size = min(size, n_tokens)
        filled = (_filled_up(attention_mask, size).reshape(n_rows, -1, size) != 0).any(dim=-1)  # (B, W)
        return cls(n_rows, n_tokens, size, filled)

    @property
    def kept(self) -> torch.Tensor:
        """Return the numbers (n,) of the windows that are not empty, and of each row's first one."""
        kept = self.filled.clone()
        kept[:, 0] = True
        return kept.flatten().nonzero().squeeze(1)

    def cut(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the windows (n, S, ...) of rows (B, T, ...)."""
        return _filled_up(rows, self.size).reshape(-1, self.size, *rows.shape[2:]).index_select(0, self.kept)

    def join(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the rows (B, T, ...) of windows (n, S, ...), zero in empty ones."""
        return self.listed(windows).flatten(1, 2)[:, : self.n_tokens]

    def listed(self, windows: torch.Tensor) -> torch.Tensor:
        """Return what was made of the windows, (n, ...), row by row, (B, W, ...), zero for empty ones."""
        every = windows.new_zeros((self.filled.numel(), *windows.shape[1:])).index_copy(0, self.kept, windows)
        return every.reshape(self.n_rows, -1, *windows.shape[1:])


def _filled_up(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Return rows (B, T, ...) with zeros behind them, up to a multiple of `size`."""
    missing = -rows.shape[1] % size
    return rows if not missing else torch.cat([rows, rows.new_zeros((len(rows), missing, *rows.shape[2:]))], dim=1)
