"""From the members' out-of-fold predictions to one ensemble, and an estimate of its score that nothing has flattered.

For every scored fold the rung is fitted, the rung chosen and the decision tuned on the rows of the other folds alone:
the whole procedure is cross-fitted, not only the last fit. Source: Varma & Simon, Bias in error estimation when using
cross-validation for model selection, 2006, https://doi.org/10.1186/1471-2105-7-91 (nested cross-validation).
Differs from it: the members are not trained anew for the inner folds, so an inner row's member was trained on the
scored fold too; its prediction for that row never saw the row's own label.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import HOLDOUT_FOLD
from pipeline.contracts import Metric, Stacker
from pipeline.ensemble.decisions import Plan, cross_fit, cross_fit_plan, decide, make_plan, own_folds
from pipeline.ensemble.members import Candidate, Members
from pipeline.reproducibility import derive_seed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ensemble:
    """The fitted ensemble and its predictions; `out_of_fold` is what the estimate scores."""

    rungs: dict[str, np.ndarray]  # cross-fitted (R, N, C)
    fitted: dict[str, Stacker]  # on all out-of-fold rows
    chosen: str
    plan: Plan
    out_of_fold: np.ndarray  # (R, N, C)
    holdout: np.ndarray  # (H, C)
    test: np.ndarray  # (T, C)

    def decided(self, members: Members, probabilities: np.ndarray) -> np.ndarray:
        """Return what is predicted (N, C) for rows of which the members say (N, M, C)."""
        return decide(self.fitted[self.chosen].predict(probabilities), self.plan, kind=members.kind)

    def candidate(self, members: Members, rung: str | None = None) -> Candidate:
        """Return a rung as its fold models have it, or the chosen one with its decision."""
        stacker = self.fitted[rung or self.chosen]
        return Candidate(
            self.rungs[rung or self.chosen].mean(axis=0),
            np.stack([stacker.predict(probabilities) for probabilities in members.sampled_by_fold]),
            stacker.predict(members.test_probabilities[members.sampled]),
            lambda values: values if rung else decide(values, self.plan, kind=members.kind),
        )

    def state(self, members: Members) -> dict[str, Any]:
        """Return, as JSON, all that predicting with the chosen rung needs."""
        decision = None if self.plan.decision is None else asdict(self.plan.decision)
        state = {"rung": self.chosen, "decision": decision, "state": self.fitted[self.chosen].state()}
        return state | {"members": members.names, "labels": members.labels}


def build_ensemble(
    members: Members, *, ladder: Mapping[str, Callable[[], Stacker]], metric: Metric, seed: int,
    tune_above: float | None,
) -> Ensemble:  # fmt: skip
    """Cross-fit every rung, choose one, and estimate the whole procedure.

    The `ladder` has the simplest rung first; with one member it is just its mean. `tune_above`: see `Choosing`.
    """
    if len(members.names) < 2:
        [name] = components.having("stackers", "KEEPS_SINGLE")
        ladder = {name: partial(components.build, "stackers", name, metric=metric, seed=seed)}
    labels = members.train.labels
    if members.folds.max() < 2:
        logger.warning("task %s: two folds leave nothing to choose on: the first rung is used, untuned.", members.task)
        ladder, tune_above = dict(list(ladder.items())[:1]), None
    options: dict[str, Any] = {"clusters": members.train.clusters, "kind": members.kind, "metric": metric}
    options |= {"tune_above": tune_above}
    folded = list(zip(members.out_of_fold, members.folds, strict=True))
    worlds = [[cross_fit(build, values, labels, folds) for build in ladder.values()] for values, folds in folded]
    rungs = [
        [own_folds(world, folds) for world in of_repeat] for of_repeat, folds in zip(worlds, members.folds, strict=True)
    ]
    candidates = list(np.stack(rungs, axis=1))  # per rung (R, N, C)
    plan = make_plan(labels, candidates, members.folds, seed=derive_seed(seed, members.task, "final"), **options)
    estimate = [
        cross_fit_plan(
            labels, of_repeat, folds, use=plan.decision is not None and plan.decision.used,
            seed=derive_seed(seed, members.task, "estimate", repeat), **options,
        )
        for repeat, (of_repeat, folds) in enumerate(zip(worlds, members.folds, strict=True))
    ]  # fmt: skip
    fitted = {name: build() for name, build in ladder.items()}
    for stacker in fitted.values():
        # One row per row: repeats below each other would weaken every penalty.
        stacker.fit(members.out_of_fold.mean(axis=0), labels)
    none = np.empty((0, len(members.labels)))
    rungs_by_name, chosen = dict(zip(ladder, candidates, strict=True)), list(ladder)[plan.rung]
    ensemble = Ensemble(rungs_by_name, fitted, chosen, plan, np.stack(estimate), holdout=none, test=none)
    holdout, test = (
        ensemble.decided(members, part) if len(part) else none
        for part in (members.holdout_probabilities, members.test_probabilities)
    )
    return replace(ensemble, holdout=holdout, test=test)


def ensemble_predictions(members: Members, ensemble: Ensemble, *, manifest: str, seed: int) -> Predictions:
    """Return the ensemble in the common contract: oof rows as the estimate has them, test and hold-out rows once.

    The latter carry repeat 0 and fold -1: they come from all folds. Logits are log-probabilities, clipped below.
    """
    blocks: list[tuple[str, list[str], int, Any]] = [
        *(("oof", members.train.ids, repeat, folds) for repeat, folds in enumerate(members.folds)),
        ("holdout", members.holdout.ids, 0, HOLDOUT_FOLD),
        ("test", members.test_ids, 0, HOLDOUT_FOLD),
    ]
    parts = [
        pd.DataFrame({"row_id": ids, "split": split, "repeat": repeat, "fold": fold})
        for split, ids, repeat, fold in blocks
        if ids
    ]
    rows = pd.concat(parts, ignore_index=True).assign(task=members.task)
    logits = members.kind.logits(np.concatenate([*ensemble.out_of_fold, ensemble.holdout, ensemble.test]))
    return Predictions("ensemble", members.task, members.labels, rows, logits, manifest, "", seed)
