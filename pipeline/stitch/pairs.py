"""Which encoders are stitched and onto whose tokens, decided for every fold on the rows of the other folds alone."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from pipeline.artifacts.folds import Folds
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.probabilities import probabilities_of
from pipeline.artifacts.table import Table
from pipeline.contracts import Metric


class Judge:
    """Scores encoders and blends of them on the out-of-fold rows outside one fold."""

    def __init__(
        self,
        predictions: Mapping[str, Predictions],
        *,
        table: Table,
        folds: Folds,
        task: str,
        repeat: int,
        fold: int,
        metric: Metric,
    ) -> None:
        rows = folds.select(task, repeat)
        rows = rows[(rows["fold"] != fold) & (rows["fold"] >= 0)]
        ids = rows["row_id"].tolist()
        scored = table.select(task, "train").set_index("row_id").loc[ids].reset_index()
        self.targets = table.targets(task, scored)
        self.metric = metric
        self.probabilities = {
            name: probabilities_of(one, "oof", ids, kind=table.kind(task), repeat=repeat)
            for name, one in predictions.items()
        }

    def score(self, encoders: Sequence[Sequence[str]]) -> float:
        """Return the score of the mean over groups of the mean over each group's encoders, higher is better."""
        blends = [np.mean([self.probabilities[name] for name in group], axis=0) for group in encoders]
        score = self.metric.sign * self.metric.score(self.targets, np.mean(blends, axis=0))
        return score if np.isfinite(score) else -np.inf

    def frame_first(self, group: Sequence[str], tokenizer: str) -> list[str]:
        """Return a group with the encoder in front onto whose tokens the others come: the named one or the best."""
        frame = max(group, key=lambda name: self.score([[name]])) if tokenizer == "best" else tokenizer
        return [frame, *(name for name in group if name != frame)]

    def best_pairs(self, encoders: Sequence[str], n: int) -> list[list[str]]:
        """Return n pairs, each the one that blends best with those before it: strong ones whose errors differ.

        Source: Caruana et al., Ensemble Selection from Libraries of Models, 2004, section 2 (forward selection),
        https://doi.org/10.1145/1015330.1015432. Differs from it: without replacement.
        """
        chosen: list[list[str]] = []
        candidates = [list(pair) for pair in combinations(encoders, 2)]
        while candidates and len(chosen) < n:
            pick = max(candidates, key=lambda pair: self.score([*chosen, pair]))
            candidates.remove(pick)
            chosen.append(pick)
        return chosen
