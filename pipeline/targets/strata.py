"""Strata of rows, one of each row or several, and parts of the rows that each get their share of every one of several.

Source: Sechidis et al., On the Stratification of Multi-Label Data, 2011, https://doi.org/10.1007/978-3-642-23808-6_10
(iterative stratification: the rarest stratum that is left goes first, each row to the part that most lacks it).
Differs from the paper: whole clusters of rows are placed instead of rows, of a stratum the largest first.
"""

from collections.abc import Sequence

import numpy as np


def memberships(strata: np.ndarray, n_strata: int) -> np.ndarray:
    """Return which strata rows are in, bool (N, S), for the number of each row's (N,), or as they are for (N, S).

    >>> memberships(np.array([1, 0]), 2).tolist()
    [[False, True], [True, False]]
    """
    return strata.astype(bool) if strata.ndim == 2 else strata[:, None] == np.arange(n_strata)


def one_each(strata: np.ndarray) -> np.ndarray:
    """Return a number per row (N,), equal for rows in the same strata, which are (N,) or (N, S).

    >>> one_each(np.array([[1, 0], [1, 1], [1, 0]], bool)).tolist()
    [0, 1, 0]
    """
    return np.unique(strata, axis=0, return_inverse=True)[1].ravel() if strata.ndim == 2 else strata


def rarest(strata: np.ndarray) -> np.ndarray:
    """Return of each row in several strata, bool (N, S), the rarest one, int64 (N,), -1 where it is in none.

    >>> rarest(np.array([[1, 0], [1, 1], [0, 0]], bool)).tolist()
    [0, 1, -1]
    """
    sizes = np.where(strata, strata.sum(axis=0), len(strata) + 1)
    return np.where(strata.any(axis=1), sizes.argmin(axis=1), -1)


def split_iteratively(strata: np.ndarray, cluster: np.ndarray, *, shares: Sequence[float], seed: int) -> np.ndarray:
    """Return the part, 0 to K - 1, of each row: parts get near their share of the rows and of each stratum's, clusters whole.

    Args:
        strata: bool (N, S), a row in none, one or several.
        cluster: int (N,); rows that share a value share a part.
        shares: of the K parts, summing to 1.
        seed: of the order in which clusters of one size are placed.
    """
    cluster = np.unique(cluster, return_inverse=True)[1]
    sizes = np.bincount(cluster)
    counts = np.zeros((len(sizes), strata.shape[1]))
    np.add.at(counts, cluster, strata)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    part = np.full(len(sizes), -1)
    lacking, room = np.outer(shares, counts.sum(axis=0)), np.multiply(shares, len(cluster))  # (K, S), (K,)

    def place(number: int, lack: np.ndarray) -> None:
        most = np.flatnonzero(lack >= lack.max() - 1e-9)
        chosen = part[number] = most[np.argmax(room[most])]
        lacking[chosen] -= counts[number]
        room[chosen] -= sizes[number]

    left = counts.sum(axis=0)
    while (left > 0).any():
        stratum = int(np.argmin(np.where(left > 0, left, np.inf)))
        waiting = order[(part[order] < 0) & (counts[order, stratum] > 0)]
        for number in waiting:
            place(number, lacking[:, stratum])
        left -= counts[waiting].sum(axis=0)
    for number in order[part[order] < 0]:
        place(number, room)
    return part[cluster]
