"""Which tokens are masked, and by what: a hash of seed, epoch, row and place, so that nothing else has a say.

Source: Steele et al., Fast Splittable Pseudorandom Number Generators, 2014 (SplitMix64), doi:10.1145/2660193.2660195;
Devlin et al., BERT, 2019, section 3.1 (80/10/10), https://arxiv.org/abs/1810.04805
Differs from papers that draw runs until a row's budget is spent: each unit begins a run by itself, with the probability at
which a unit is in some run at the wanted ratio. So runs may touch, and the ratio holds in expectation; but each row masks at
least one unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.pretrain.pretext import Masking
from pipeline.reproducibility import derive_seed

GAMMA, FIRST, SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
NO_UNIT = -1


def uniform(seed: int, *numbers: np.ndarray | int) -> np.ndarray:
    """Return numbers in [0, 1), float64, one for each element of whole numbers that broadcast against one another.

    >>> draws = uniform(1, np.arange(100_000), 7)
    >>> bool(abs(draws.mean() - 0.5) < 0.01), bool(uniform(1, 5, 7) == draws[5])
    (True, True)
    """
    state = _mixed(np.array(seed, dtype=np.int64).astype(np.uint64))
    for number in numbers:
        state = _mixed(state ^ _mixed(np.asarray(number, dtype=np.int64).astype(np.uint64)))
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        mixed = numbers + GAMMA
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
    return mixed ^ (mixed >> np.uint64(31))


def start_probability(ratio: float, survival: np.ndarray) -> float:
    """Return with which probability a unit must begin a run, for a unit to be in some run with probability `ratio`.

    >>> start_probability(0.15, np.array([1.0])), start_probability(0.75, np.array([1.0, 1.0]))
    (0.15, 0.5)
    """
    low, high = 0.0, ratio
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - np.prod(1 - middle * survival) < ratio else (low, middle)
    return round(high, 12)


def survival_of(weights: Sequence[float]) -> list[float]:
    """Return by n which share of runs is longer than n, given weights of the lengths 1, 2, ...

    >>> survival_of([2, 1, 1])
    [1.0, 0.5, 0.25]
    """
    return [sum(weights[n:]) / sum(weights) for n in range(len(weights))]


@dataclass(frozen=True)
class Masks:
    """How a pre-training masks rows of units (see `pieces.Pieces`)."""

    masking: Masking
    ratio: float
    seed: int

    @cached_property
    def _thresholds(self) -> np.ndarray:
        survival = np.array(self.masking.survival, dtype=np.float64)
        return start_probability(self.ratio, survival) * survival

    def chosen(self, units: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Return which tokens are masked, bool (B, T), given their units (B, T), `NO_UNIT` for special ones, and row numbers.

        A unit is masked whole or not at all, in each row at least one.
        """
        thresholds, seed, number = self._thresholds, derive_seed(self.seed, "masks"), rows[:, None]
        here = uniform(seed, epoch, number, units)
        # A run that begins n units further left reaches this one if it is longer than n; runs may begin before the row.
        reached = here < thresholds[0]
        for n in range(1, len(thresholds)):
            reached |= uniform(seed, epoch, number, units - n) < thresholds[n]
        own = units != NO_UNIT
        reached &= own
        least = np.where(own, here, np.inf).argmin(axis=1)
        unlucky = ~reached.any(axis=1)
        return np.where(unlucky[:, None], own & (units == np.take_along_axis(units, least[:, None], axis=1)), reached)

    def replaced(
        self, ids: np.ndarray, chosen: np.ndarray, rows: np.ndarray, epoch: int, *,
        mask_id: int, ordinary: np.ndarray, mask_token_ratio: float, random_token_ratio: float,
    ) -> np.ndarray:  # fmt: skip
        """Return the ids (B, T) that the model reads: of those chosen some are the mask, some random ones, the rest stay.

        `ordinary` (V,) are the ids from which random ones are drawn.
        """
        number, places = rows[:, None], np.arange(ids.shape[1])
        kind = uniform(derive_seed(self.seed, "replacement"), epoch, number, places)
        drawn = uniform(derive_seed(self.seed, "random tokens"), epoch, number, places)
        random = ordinary[(drawn * len(ordinary)).astype(np.int64)]
        shown = np.where(kind < mask_token_ratio + random_token_ratio, random, ids)
        return np.where(chosen, np.where(kind < mask_token_ratio, mask_id, shown), ids)
