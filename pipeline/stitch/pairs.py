"""Which encoders are stitched and onto whose tokens, decided for every fold on the rows of the other folds alone."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds, Table
from pipeline.contracts import Metric
from pipeline.data.fold_jobs import FoldJob


class Judge:
    """Scores encoders and blends of them on the out-of-fold rows outside one fold."""

    def __init__(
        self, predictions: Mapping[str, Predictions], job: FoldJob, *, table: Table, folds: Folds, metric: Metric
    ) -> None:
        rows = folds.select(job.task, job.repeat)
        ids = rows.loc[(rows["fold"] != job.fold) & (rows["fold"] >= 0), "row_id"].tolist()
        scored = table.select(job.task, "train").set_index("row_id").loc[ids].reset_index()
        self.targets, self.metric = table.targets(job.task, scored), metric
        self.probabilities = {
            name: probabilities_of(of_encoder, "oof", ids, kind=table.kind(job.task), repeat=job.repeat)
            for name, of_encoder in predictions.items()
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
