"""What stitched models are worth: the ensemble with and without them, each against its encoders, and each left out.

"With against without" runs the complete procedure, `build_ensemble`, on both sets of members. Leaving out one model at a
time would repeat all of it for every model, so it refits a single rung without tuning the decision: the chosen rung where
that is quick, else a cheaper one (see `leave_out_rung`). Everything is cross-fitted, and a gain is paired: both sides on
the same rows under the same resamples of clusters, positive where better whatever way the metric points.
Source of leaving one out: Lei et al., Distribution-Free Predictive Inference for Regression, 2018 (LOCO),
https://doi.org/10.1080/01621459.2017.1307116. Differs from it: an ensemble's members are left out, not a model's inputs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from pipeline import components
from pipeline.contracts import Metric, Stacker
from pipeline.ensemble.averaging import gain_on_test
from pipeline.ensemble.intervals import Comparison, compare
from pipeline.ensemble.members import Members
from pipeline.ensemble.scoring import error_agreement
from pipeline.ensemble.stacking import Ensemble, build_ensemble
from pipeline.reproducibility import derive_seed

Ladder = Mapping[str, Callable[[], Stacker]]
Key = tuple[str, str]  # of a candidate: what it is, and its name
REFIT_NUMBERS = 50_000_000  # what refits may read in all: lightgbm takes 1.6 s per million, greedy 0.2
logger = logging.getLogger(__name__)


def leave_out_rung(members: Members, *, chosen: str, ladder: Iterable[str], n_left_out: int) -> str:
    """Return the rung from which models are left out: the chosen one if its refits are quick, else a quick one of the ladder.

    Those come first that fit anything at all; where the ladder has none, it is the stacker that keeps a single member.
    It depends on sizes alone, not on the time measured, so that the same data gives the same numbers everywhere.
    """
    n_fits = n_left_out * len(members.folds) * int(members.folds.max() + 1)
    is_quick = components.constant("stackers", chosen.partition("-")[0], "REFIT") is not None
    if is_quick or n_fits * members.out_of_fold[0].size <= REFIT_NUMBERS:
        return chosen
    stand_ins = [name for name in components.having("stackers", "REFIT", "quick") if name in ladder]
    return [*stand_ins, *components.having("stackers", "KEEPS_SINGLE")][0]


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
    members: Members, ensemble: Ensemble, *, parents: Mapping[str, list[str]], everyone: Members, ladder: Ladder,
    metric: Metric, metric_name: str, tune_above: float | None, n_bootstrap: int, seed: int,
) -> dict[str, Any] | None:  # fmt: skip
    """Return one task's `stitching` of scores.json, or None without stitched members.

    Args:
        members, ensemble: with the stitched models, and what was built from them.
        parents: the encoders of each stitched member, by its name.
        everyone: the members and every parent, also one that is no member.
        ladder, metric, metric_name, tune_above, n_bootstrap, seed: as for the ensemble.
    """
    if not parents:
        return None
    ensembles = {"with": (members, ensemble)}
    if others := [name for name in members.names if name not in parents]:
        logger.info("task %s: the ensemble once more, without its %d stitched models", members.task, len(parents))
        rest = members.only(others)
        blend = build_ensemble(rest, ladder=ladder, metric=metric, tune_above=tune_above, seed=seed)
        ensembles["without"] = rest, blend
    rung = leave_out_rung(members, chosen=ensemble.chosen, ladder=ladder, n_left_out=len(parents))
    build = ladder.get(rung) or partial(components.build, "stackers", rung, metric=metric, seed=seed)
    singles = dict.fromkeys([*parents, *(encoder for group in parents.values() for encoder in group)])
    candidates: dict[Key, np.ndarray] = {
        **{("ensemble", key): blend.out_of_fold.mean(axis=0) for key, (_, blend) in ensembles.items()},
        **{("model", name): everyone.out_of_fold[:, :, everyone.names.index(name)].mean(axis=0) for name in singles},
        **_left_out(members, list(parents), build, rung),
    }
    options: dict[str, Any] = {"n_resamples": n_bootstrap, "seed": derive_seed(seed, members.task)}
    on_test = {("ensemble", key): (blend.submitted(of), of) for key, (of, blend) in ensembles.items()}
    on_test |= {("model", name): (everyone.candidate(name), everyone) for name in singles}
    compared = compare(
        members.train.labels, candidates, clusters=members.train.clusters, metric=members.scorer(metric_name, metric),
        on_test={key: gain_on_test(one, of, metric=metric).value for key, (one, of) in on_test.items()},
        bounds=components.constant("metrics", metric_name, "BOUNDS"), **options,
    )  # fmt: skip
    holdout = _on_holdout(ensembles, metric=metric, **options)
    splits, gained = {"oof": compared, "holdout": holdout}, {"test": compared, "holdout": holdout}
    both = ("ensemble", "with"), ("ensemble", "without")
    gains = {split: scored and asdict(scored.gain(*both)) for split, scored in gained.items()} if others else None
    return {
        "with_pairs": _ensemble_record("with", ensembles, splits),
        "without_pairs": _ensemble_record("without", ensembles, splits),
        "difference": gains,
        "leave_one_out": rung,
        "models": [_model_record(name, group, compared, candidates, members) for name, group in parents.items()],
    }


def _on_holdout(ensembles: Mapping[str, tuple[Members, Ensemble]], **options: Any) -> Comparison | None:
    rows = ensembles["with"][0].holdout
    blends = {("ensemble", key): blend.holdout for key, (_, blend) in ensembles.items()}
    return compare(rows.labels, blends, clusters=rows.clusters, **options) if rows.ids else None


def _ensemble_record(
    key: str, ensembles: Mapping[str, tuple[Members, Ensemble]], splits: Mapping[str, Comparison | None]
) -> dict[str, Any] | None:
    if key not in ensembles:
        return None
    members, ensemble = ensembles[key]
    scores = {split: scored and scored.score(("ensemble", key)) for split, scored in splits.items()}
    return {"n_models": len(members.names), "chosen": ensemble.chosen, **scores}


def _left_out(members: Members, names: list[str], build: Callable[[], Stacker], rung: str) -> dict[Key, np.ndarray]:
    """Return the rung with all members, and without each of the named ones; nothing of a single member."""
    if len(members.names) < 2:
        return {}
    blends: dict[Key, np.ndarray] = {("all", ""): cross_fitted(members, build)}
    for number, name in enumerate(names, start=1):
        rest = members.only([other for other in members.names if other != name])
        blends["without", name] = cross_fitted(rest, build)
        logger.info("task %s: %s without %s (%d of %d)", members.task, rung, name, number, len(names))
    return blends


def _model_record(
    name: str, encoders: list[str], compared: Comparison, candidates: Mapping[Key, np.ndarray], members: Members
) -> dict[str, Any]:
    model, keys, left_out = ("model", name), [("model", encoder) for encoder in encoders], ("without", name)
    better = compared.best(keys)
    errors = [members.kind.errors(members.train.labels, candidates[key]) for key in (model, *keys)]
    return {
        "name": name,
        "encoders": encoders,
        "head": name.rpartition("+")[2],
        **compared.score(model),
        "parents": {encoder: compared.scores[key] for encoder, key in zip(encoders, keys, strict=True)},
        "gain": {"over": better[1], **asdict(compared.gain(model, better))},
        "error_correlation": dict(zip(encoders, error_agreement(errors)[0][1:], strict=True)),
        "adds": asdict(compared.gain(("all", ""), left_out)) if left_out in compared.scores else None,
    }
