"""The table of settings scored fold by fold: each one's paired difference, its error over folds, what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.artifacts.histories import UnitRecord
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.contracts import Metric
from pipeline.ensemble.decisions import cross_fit_decision
from pipeline.experiments.fold_errors import best_by_chance, fold_interval
from pipeline.experiments.paired_table import Chance
from pipeline.params.root import Params
from pipeline.reproducibility import derive_seed

ERROR = (
    "Scores are means over folds; errors and intervals are of the folds' paired differences, corrected for the training rows "
    "that folds share (Nadeau and Bengio, 2003)"
)


class FoldScorer:
    """Scores out-of-fold probabilities of one task, fold by fold, decisions cross-fitted as those of the ensemble are."""

    def __init__(self, task: str, params: Params, table: Table, folds: Folds) -> None:
        """Read the targets and folds of the rows that are scored."""
        self.kind, self.tunes = table.kind(task), params.stack.tune_decision
        self.metric: Metric = params.tasks[task].metric.build(
            n_outputs=len(table.labels[task]), decide=self.kind.decide
        )
        rows = folds.rows[folds.rows["task"] == task]
        plans = {repeat: folds.select(task, repeat) for repeat in sorted(rows["repeat"].unique().tolist())}
        self.repeats = {repeat: plan[plan["fold"] >= 0] for repeat, plan in plans.items()}
        train = table.select(task, "train").set_index("row_id")
        self.targets = {
            repeat: table.targets(task, train.loc[plan["row_id"]].reset_index())
            for repeat, plan in self.repeats.items()
        }
        used = {repeat: int((plan["fold"] != HOLDOUT_FOLD).sum()) for repeat, plan in plans.items()}
        sizes = [
            (n, used[repeat]) for repeat, plan in self.repeats.items() for n in plan["fold"].value_counts().tolist()
        ]
        self.ratio = float(np.mean([n / (n_used - n) for n, n_used in sizes]))
        """Rows scored in a fold over rows trained on, on average."""

    def score(self, models: Sequence[Predictions]) -> np.ndarray:
        """Return the score of the mean of some models in each fold of each repeat, one after another (J,)."""
        scores = []
        for repeat, plan in self.repeats.items():
            ids, fold, targets = plan["row_id"].tolist(), plan["fold"].to_numpy(), self.targets[repeat]
            values = np.mean([probabilities_of(m, "oof", ids, kind=self.kind, repeat=repeat) for m in models], axis=0)
            scores += self.score_values(values, targets, fold)
        return np.array(scores)

    def score_values(self, values: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> list[float]:
        """Return the score in each fold (N,) of values (N, V) against targets (N, …)."""
        if self.tunes and self.kind.needed_errors(values, metric=self.metric):
            values = cross_fit_decision(targets, values[None], fold[None], kind=self.kind, metric=self.metric)
        return [self.metric.score(targets[fold == number], values[fold == number]) for number in np.unique(fold)]


def fold_rows(
    scores: Mapping[str, np.ndarray], scorer: FoldScorer, *, reference: str, seed: int
) -> tuple[list[dict[str, Any]], Chance | None]:
    """Return a record per setting, the best first, and what the best would show by chance.

    `scores` are those of each setting per fold (J,), the same folds for all. Where nothing is compared with the reference
    the second is None.
    """
    sign, others = scorer.metric.sign, [name for name in scores if name != reference]
    chance: Chance | None = None
    if others:
        gains = sign * np.stack([scores[name] - scores[reference] for name in others])
        mean, most = best_by_chance(gains, ratio=scorer.ratio, seed=derive_seed(seed, "ablate"))
        chance = {"variants": len(others), "mean": sign * mean, "one_in_twenty": sign * most}
    records = []
    for name, values in scores.items():
        score = fold_interval(values, ratio=scorer.ratio)
        difference = fold_interval(values - scores[reference], ratio=scorer.ratio)
        beyond = chance is not None and sign * (difference.value - chance["one_in_twenty"]) > 0
        records.append({
            "variant": name, "score": score.value, "low": score.low, "high": score.high, "difference": difference.value,
            "difference_low": difference.low, "difference_high": difference.high,
            "standard_error": difference.standard_error, "beyond_chance": bool(beyond and name != reference),
        })  # fmt: skip
    return sorted(records, key=lambda record: -sign * np.nan_to_num(record["difference"], nan=-np.inf * sign)), chance


def costs(units: Mapping[str, Sequence[UnitRecord]], reference: str) -> dict[str, dict[str, Any]]:
    """Return by setting the seconds of training, the most memory of one fold, and both as ratios to the reference.

    None where the units do not say; `device` names what they were measured on.
    """
    facts: dict[str, dict[str, Any]] = {}
    for name, records in units.items():
        memory = [record["peak_memory"] for record in records if "peak_memory" in record]
        seconds = sum(record["seconds"] for record in records)
        devices = dict.fromkeys(str(record["numerics"]["device"]) for record in records)
        facts[name] = {
            "seconds": seconds or None,
            "peak_memory": max(memory, default=None),
            "device": ", ".join(devices),
        }
    for fact in facts.values():
        for key, ratio in (("seconds", "time_ratio"), ("peak_memory", "memory_ratio")):
            known = fact[key] and facts[reference][key]
            fact[ratio] = fact[key] / facts[reference][key] if known else None
    return facts
