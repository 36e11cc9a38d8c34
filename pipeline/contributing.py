"""What stitched models are worth: the ensemble with and without them, each against its encoders, and each left out.

"With against without" runs the complete procedure, `build_ensemble`, on both sets of members. Leaving out one model at a
time would repeat all of it for every model, so it refits a single rung without tuning the decision: the chosen rung where
that is quick, else a cheaper one (see `leave_out_rung`). Everything is cross-fitted, and a gain is paired: both sides on
the same rows under the same resamples of clusters, positive where better whatever way the metric points.
Source of leaving one out: Lei et al., Distribution-Free Predictive Inference for Regression, 2018 (LOCO),
https://doi.org/10.1080/01621459.2017.1307116. Differs from it: an ensemble's members are left out, not a model's inputs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pipeline import artifacts, components
from pipeline.contracts import Metric, Stacker
from pipeline.paths import OUT
from pipeline.reproducibility import derive_seed
from pipeline.scoring import Interval, bootstrap_scores, error_agreement, interval
from pipeline.stacking import Ensemble, Members, Rows, build_ensemble

Ladder = Mapping[str, Callable[[], Stacker]]
Key = tuple[str, str]
QUICK = ("mean", "rank_mean", "greedy")
REFIT_NUMBERS = 50_000_000  # what refits may read in all: lightgbm takes 1.6 s per million, greedy 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Candidates scored on the same rows under the same resamples, by their keys."""

    scores: dict[Key, float]
    resampled: dict[Key, np.ndarray]
    sign: int

    def score(self, one: Key) -> dict[str, float]:
        """Return a candidate's score and its 95 % interval."""
        own = interval(self.scores[one], self.resampled[one])
        return {"score": own.value, "low": own.low, "high": own.high}

    def gain(self, one: Key, over: Key) -> Interval:
        """Return how much better a candidate is than another one, with the paired interval."""
        difference = self.sign * (self.scores[one] - self.scores[over])
        return interval(difference, self.sign * (self.resampled[one] - self.resampled[over]))

    def best(self, keys: Iterable[Key]) -> Key:
        """Return the candidate with the best score, the first of equals; one without a score (NaN) comes last."""
        return max(keys, key=lambda key: -np.inf if np.isnan(self.scores[key]) else self.sign * self.scores[key])


def compare(
    rows: Rows, candidates: Mapping[Key, np.ndarray], *, metric: Metric, n_resamples: int, seed: int
) -> Comparison:
    """Score candidates, probabilities (N, C) by key, on N rows and under the same resamples of their clusters."""
    resampled = bootstrap_scores(
        rows.labels,
        list(candidates.values()),
        metric=metric,
        clusters=rows.clusters,
        n_resamples=n_resamples,
        seed=seed,
    )
    scores = {key: metric.score(rows.labels, one) for key, one in candidates.items()}
    return Comparison(scores, dict(zip(candidates, resampled, strict=True)), 1 if metric.higher_is_better else -1)


def keep(members: Members, names: Sequence[str]) -> Members:
    """Return the same rows with only the named members, in the order of the names."""
    places = [members.names.index(name) for name in names]
    return replace(
        members,
        names=list(names),
        out_of_fold=members.out_of_fold.take(places, axis=2),
        holdout_probabilities=members.holdout_probabilities.take(places, axis=1),
        test_probabilities=members.test_probabilities.take(places, axis=1),
    )


def read_parents(models: Iterable[str], *, encoders: Sequence[str], task: str) -> dict[str, list[str]]:
    """Return the encoders of each stitched model as its folds have used them, in the order of `encoders`."""
    histories = {name: artifacts.read_json(OUT / "stitch" / name / "history.json") for name in models}
    return {name: parents_of(one["units"], encoders=encoders, task=task) for name, one in histories.items()}


def parents_of(units: Iterable[Mapping[str, Any]], *, encoders: Sequence[str], task: str) -> list[str]:
    """Return the encoders that any fold of a task has stitched: two of a pair, perhaps more of `pairs: {best: n}`.

    >>> units = [{"task": "t", "encoders": ["b", "a"]}, {"task": "t", "encoders": ["a", "b"]}]
    >>> parents_of(units, encoders=["a", "b", "c"], task="t")
    ['a', 'b']
    """
    used = {encoder for unit in units if unit["task"] == task for encoder in unit["encoders"]}
    return [name for name in encoders if name in used]


def leave_out_rung(members: Members, *, chosen: str, ladder: Iterable[str], n_left_out: int) -> str:
    """Return the rung from which models are left out: the chosen one if its refits are quick, else greedy, else mean.

    It depends on sizes alone, not on the time measured, so that the same data gives the same numbers everywhere.
    """
    n_fits = n_left_out * len(members.folds) * int(members.folds.max() + 1)
    if chosen.partition("-")[0] in QUICK or n_fits * members.out_of_fold[0].size <= REFIT_NUMBERS:
        return chosen
    return "greedy" if "greedy" in ladder else "mean"


def cross_fitted(members: Members, build: Callable[[], Stacker]) -> np.ndarray:
    """Return a rung's probabilities (N, C), the mean over repeats: each fold from a fit on the others."""
    result = np.zeros((len(members.train.ids), len(members.labels)))
    for probabilities, folds in zip(members.out_of_fold, members.folds, strict=True):
        for fold in range(int(folds.max()) + 1):
            inside, stacker = folds == fold, build()
            stacker.fit(probabilities[~inside], members.train.labels[~inside])
            result[inside] += stacker.predict(probabilities[inside])
    return result / len(members.folds)


def describe_stitching(
    members: Members,
    ensemble: Ensemble,
    *,
    parents: Mapping[str, list[str]],
    everyone: Members,
    ladder: Ladder,
    metric: Metric,
    tune: bool,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Any] | None:
    """Return one task's `stitching` of scores.json, or None without stitched members.

    Args:
        members, ensemble: with the stitched models, and what was built from them.
        parents: the encoders of each stitched member, by its name.
        everyone: the members and every parent, also one that is no member.
        ladder, metric, tune, seed: as the ensemble was built.
        n_bootstrap: resamples of each interval.
    """
    if not parents:
        return None
    ensembles = {"with": (members, ensemble)}
    if others := [name for name in members.names if name not in parents]:
        logger.info("task %s: the ensemble once more, without its %d stitched models", members.task, len(parents))
        rest = keep(members, others)
        ensembles["without"] = (rest, build_ensemble(rest, ladder=ladder, metric=metric, tune=tune, seed=seed))
    rung = leave_out_rung(members, chosen=ensemble.chosen, ladder=ladder, n_left_out=len(parents))
    build = ladder.get(rung) or partial(components.load("stackers", rung), metric=metric, seed=seed)
    singles = dict.fromkeys([*parents, *(encoder for group in parents.values() for encoder in group)])
    candidates: dict[Key, np.ndarray] = {
        **{("ensemble", key): one.out_of_fold.mean(axis=0) for key, (_, one) in ensembles.items()},
        **{("model", name): everyone.out_of_fold[:, :, everyone.names.index(name)].mean(axis=0) for name in singles},
        **_left_out(members, list(parents), build, rung),
    }
    options: dict[str, Any] = {"metric": metric, "n_resamples": n_bootstrap, "seed": derive_seed(seed, members.task)}
    found, outside = compare(members.train, candidates, **options), None
    if members.holdout.ids:
        blends = {("ensemble", key): one.holdout for key, (_, one) in ensembles.items()}
        outside = compare(members.holdout, blends, **options)
    splits = {"oof": found, "holdout": outside}
    return {
        "with_pairs": _ensemble_record("with", ensembles, splits),
        "without_pairs": _ensemble_record("without", ensembles, splits),
        "difference": _difference(splits) if others else None,
        "leave_one_out": rung,
        "models": [
            _model_record(name, group, found, candidates, members.train.labels) for name, group in parents.items()
        ],
    }


def _ensemble_record(
    key: str, ensembles: Mapping[str, tuple[Members, Ensemble]], splits: Mapping[str, Comparison | None]
) -> dict[str, Any] | None:
    if key not in ensembles:
        return None
    members, ensemble = ensembles[key]
    scores = {split: found and found.score(("ensemble", key)) for split, found in splits.items()}
    return {"n_models": len(members.names), "chosen": ensemble.chosen, **scores}


def _difference(splits: Mapping[str, Comparison | None]) -> dict[str, Any]:
    both = ("ensemble", "with"), ("ensemble", "without")
    return {split: found and asdict(found.gain(*both)) for split, found in splits.items()}


def _left_out(members: Members, names: list[str], build: Callable[[], Stacker], rung: str) -> dict[Key, np.ndarray]:
    """Return the rung with all members, and without each of the named ones; nothing of a single member."""
    if len(members.names) < 2:
        return {}
    found: dict[Key, np.ndarray] = {("all", ""): cross_fitted(members, build)}
    for number, name in enumerate(names, start=1):
        rest = keep(members, [other for other in members.names if other != name])
        found["without", name] = cross_fitted(rest, build)
        logger.info("task %s: %s without %s (%d of %d)", members.task, rung, name, number, len(names))
    return found


def _model_record(
    name: str, encoders: list[str], found: Comparison, candidates: Mapping[Key, np.ndarray], labels: np.ndarray
) -> dict[str, Any]:
    own, keys = ("model", name), [("model", encoder) for encoder in encoders]
    better = found.best(keys)
    agreement = error_agreement(labels, [candidates[key] for key in (own, *keys)])[0][1:]
    left_out = ("without", name)
    return {
        "name": name,
        "encoders": encoders,
        "head": name.rpartition("+")[2],
        **found.score(own),
        "parents": {encoder: found.scores[key] for encoder, key in zip(encoders, keys, strict=True)},
        "gain": {"over": better[1], **asdict(found.gain(own, better))},
        "error_correlation": dict(zip(encoders, agreement, strict=True)),
        "adds": asdict(found.gain(("all", ""), left_out)) if left_out in found.scores else None,
    }
