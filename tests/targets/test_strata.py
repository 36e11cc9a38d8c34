"""Iterative stratification: whole clusters, shares of every stratum."""

import numpy as np
import pytest

from pipeline.targets.strata import split_iteratively


def several(n_rows: int = 1000, *, seed: int = 0) -> np.ndarray:
    """Return strata, bool (N, 5), of which the rarest has about 1 % of the rows and many rows have none."""
    return np.random.default_rng(seed).random((n_rows, 5)) < [0.4, 0.2, 0.1, 0.05, 0.01]


def imbalance(strata: np.ndarray, part: np.ndarray, n_parts: int) -> float:
    """Return the mean over strata of how far parts are from their share of it: Sechidis et al. 2011, label distribution."""
    of_part = np.stack([strata[part == number].sum(axis=0) for number in range(n_parts)])
    return float(np.abs(of_part - strata.sum(axis=0) / n_parts).max(axis=0).mean())


def test_rows_of_their_own_are_shared_out_to_within_a_row() -> None:
    strata = several()
    part = split_iteratively(strata, np.arange(len(strata)), shares=[0.2] * 5, seed=1)
    assert imbalance(strata, part, 5) <= 1.5
    sizes = np.bincount(part)
    assert sizes.max() - sizes.min() <= 2
    assert imbalance(strata, np.random.default_rng(0).permutation(part), 5) > 4


def test_clusters_stay_whole_and_strata_keep_near_their_shares() -> None:
    strata = several()
    cluster = np.random.default_rng(3).integers(0, 300, len(strata)) * 7
    part = split_iteratively(strata, cluster, shares=[0.25] * 4, seed=1)
    assert all(len(set(part[cluster == number])) == 1 for number in np.unique(cluster))
    assert imbalance(strata, part, 4) <= 3 and np.ptp(np.bincount(part)) <= 10


def test_unequal_shares_serve_a_holdout_and_the_seed_moves_rows() -> None:
    strata, alone = several(), np.arange(1000)
    held = split_iteratively(strata, alone, shares=[0.1, 0.9], seed=1) == 0
    assert held.sum() == pytest.approx(100, abs=2)
    assert np.abs(strata[held].sum(axis=0) - 0.1 * strata.sum(axis=0)).max() <= 1.5
    other = split_iteratively(strata, alone, shares=[0.1, 0.9], seed=2) == 0
    assert (held != other).any()
