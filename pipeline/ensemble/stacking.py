"""From the members' out-of-fold predictions to one ensemble, and an estimate of its score that nothing has flattered.

For every scored fold the rung is fitted, the rung chosen and the decision tuned on the rows of the other folds alone:
the whole procedure is cross-fitted, not only the last fit. What is submitted is the mean of the very stackers that were
scored, each of which lacks a fold: one fitted anew on all rows is another one, with a score that nobody measured.
Source: Varma & Simon, Bias in error estimation when using cross-validation for model selection, 2006,
https://doi.org/10.1186/1471-2105-7-91 (nested cross-validation).
Differs from it: the members are not trained anew for the inner folds, so an inner row's member was trained on the
scored fold too; its prediction for that row never saw the row's own label.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
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
    fitted: dict[str, list[list[Stacker]]]  # per rung, repeat and fold, on the out-of-fold rows of the other folds
    chosen: str
    plan: Plan
    out_of_fold: np.ndarray  # (R, N, C)
    holdout: np.ndarray  # (H, C)
    test: np.ndarray  # (T, C)

    def predict(self, rung: str, probabilities: np.ndarray, *, fold: int | None = None) -> np.ndarray:
        """Return the mean (N, C) of a rung's stackers, or of those of a fold, for the members' probabilities (N, M, C)."""
        if not len(probabilities):
            return np.empty((0, probabilities.shape[2]))
        of_folds = [of_repeat if fold is None else [of_repeat[fold]] for of_repeat in self.fitted[rung]]
        return mean_of_stackers([stacker for of_repeat in of_folds for stacker in of_repeat], probabilities)

    def decided(self, members: Members, probabilities: np.ndarray, *, fold: int | None = None) -> np.ndarray:
        """Return what the chosen rung predicts, decided as planned."""
        return decide(self.predict(self.chosen, probabilities, fold=fold), self.plan, kind=members.kind)

    def candidate(self, members: Members, rung: str) -> Candidate:
        """Return a rung as its fold models have it, nothing tuned."""
        by_fold = [self.predict(rung, values, fold=fold) for fold, values in enumerate(members.sampled_by_fold)]
        mean = self.predict(rung, members.test_probabilities[members.sampled])
        return Candidate(self.rungs[rung].mean(axis=0), np.stack(by_fold), mean)

    def submitted(self, members: Members, chosen: Candidate | None = None) -> Candidate:
        """Return the chosen rung, or the candidate that it is, decided as planned."""
        plain = chosen or self.candidate(members, self.chosen)
        return replace(plain, decide=lambda values: decide(values, self.plan, kind=members.kind))

    def weights(self, rung: str) -> list[float] | None:
        """Return each member's share of a rung, the mean over its stackers, or None where it has none."""
        shares = [stacker.weights() for of_repeat in self.fitted[rung] for stacker in of_repeat]
        known = [values for values in shares if values is not None]
        return np.mean(known, axis=0).tolist() if known else None

    def state(self, members: Members) -> dict[str, Any]:
        """Return, as JSON, all that predicting with the chosen rung needs; `states` per repeat and fold."""
        decision = None if self.plan.decision is None else asdict(self.plan.decision)
        states = [[stacker.state() for stacker in of_repeat] for of_repeat in self.fitted[self.chosen]]
        state = {"rung": self.chosen, "decision": decision, "states": states}
        return state | {"members": members.names, "labels": members.labels}


def mean_of_stackers(stackers: Sequence[Stacker], probabilities: np.ndarray) -> np.ndarray:
    """Return the mean (N, C) of what stackers make of the members' probabilities (N, M, C)."""
    result: np.ndarray = np.mean([stacker.predict(probabilities) for stacker in stackers], axis=0)
    return result


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
    fits = [
        [cross_fit(build, values, labels, folds, name=f"task {members.task}: {rung}") for rung, build in ladder.items()]
        for values, folds in zip(members.out_of_fold, members.folds, strict=True)
    ]
    worlds = [[of_rung for of_rung, _ in of_repeat] for of_repeat in fits]
    rungs = [
        [own_folds(world, folds) for world in of_repeat] for of_repeat, folds in zip(worlds, members.folds, strict=True)
    ]
    candidates = list(np.stack(rungs, axis=1))  # per rung (R, N, C)
    plan = make_plan(labels, candidates, members.folds, seed=derive_seed(seed, members.task, "final"), **options)
    estimate = [
        cross_fit_plan(
            labels, of_repeat, folds, use=plan.decides,
            seed=derive_seed(seed, members.task, "estimate", repeat), **options,
        )
        for repeat, (of_repeat, folds) in enumerate(zip(worlds, members.folds, strict=True))
    ]  # fmt: skip
    fitted = {name: [of_repeat[rung][1] for of_repeat in fits] for rung, name in enumerate(ladder)}
    none = np.empty((0, members.out_of_fold.shape[-1]))
    rungs_by_name, chosen = dict(zip(ladder, candidates, strict=True)), list(ladder)[plan.rung]
    ensemble = Ensemble(rungs_by_name, fitted, chosen, plan, np.stack(estimate), holdout=none, test=none)
    holdout, test = (
        ensemble.decided(members, part) for part in (members.holdout_probabilities, members.test_probabilities)
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
    return Predictions("ensemble", members.task, members.kind.outputs(members.labels), rows, logits, manifest, "", seed)
