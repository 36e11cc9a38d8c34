"""What scores.json says of one task: every model and rung, the estimate, what it gains and why to believe it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np

from pipeline import components
from pipeline.contracts import Metric
from pipeline.ensemble import scoring
from pipeline.ensemble.averaging import GainOnTest, gain_on_test
from pipeline.ensemble.decisions import Plan, best_of, cross_fit_best, cross_fit_decision
from pipeline.ensemble.intervals import (
    Bounds,
    Interval,
    Unseen,
    bootstrap_scores,
    compare,
    interval,
    unseen_interval,
    within,
)
from pipeline.ensemble.label_shift import FORMS, label_shift
from pipeline.ensemble.members import Candidate, Members
from pipeline.ensemble.stacking import Ensemble
from pipeline.reproducibility import derive_seed

# The bootstrap draws rows, not what was fitted and chosen on them: by so much its standard errors were too small where the
# truth was known (docs/scores.md), of a score, of one with a tuned decision, and of the gain over a chosen single model.
FITTED, FITTED_DECISION, FITTED_GAIN = 1.06, 1.12, 1.25


def describe_ensemble(
    members: Members, ensemble: Ensemble, *, kinds: Mapping[str, str], metric_name: str, metrics: dict[str, Metric],
    n_bootstrap: int, seed: int, scored_ratio: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Return one task's part of scores.json, but for its `stitching`.

    `kinds` says by member name `encoder`, `stitched` or `baseline`; of the `metrics` to report `metric_name` decides.
    `scored_ratio` is the share of the test rows that the board scores.
    """
    metric, names, train = metrics[metric_name], members.names, members.train
    shown = _Shown(members, metric, tuned=ensemble.plan.decides)
    singles = [shown.values(members.out_of_fold[:, :, position]) for position in range(len(names))]
    scorer = members.scorer(metric_name, metric)
    best = best_of(train.labels, [values.mean(axis=0) for values in singles], metric=scorer)
    single = cross_fit_best(train.labels, singles, members.folds, metric=metric).mean(axis=0)
    rungs = {rung: ensemble.candidate(members, rung) for rung in ensemble.rungs}
    candidates = [*map(shown.candidate, [*map(members.candidate, names), *rungs.values()])]
    candidates.append(ensemble.submitted(members, rungs[ensemble.chosen]))
    on_test = [gain_on_test(candidate, members, metric=metric) for candidate in candidates]
    unseen = _unseen(members, metric_name, scored_ratio)
    options: dict[str, Any] = {"n_resamples": n_bootstrap, "seed": derive_seed(seed, members.task)}
    bounded = {"bounds": unseen["bounds"], **options}
    *models, final = scoring.score_models(
        train.labels, [*singles, *map(shown.values, ensemble.rungs.values()), ensemble.out_of_fold],
        folds=members.folds, on_test=on_test, clusters=train.clusters, metric=metric, scorer=scorer,
        report_metrics=metrics, reference=best, **bounded,
    )  # fmt: skip
    heads = [*((name, kinds[name]) for name in names), *((name, "rung") for name in ensemble.rungs)]
    models = [{"name": name, "kind": kind} | record for (name, kind), record in zip(heads, models, strict=True)]
    weighted = _weighted(members, ensemble, metric=scorer, **options)
    return _diagnostics(members, ensemble, singles) | _test_file(members, candidates[-1]) | {
        "n_train": unseen["n_train"], "n_test": len(members.test_ids), "n_scored": unseen["n_test"],
        "metric": metric_name, "higher_is_better": metric.higher_is_better,
        "models": models,
        "best_single": names[best],
        "baseline": _baseline(models, metric),
        "chosen": ensemble.chosen,
        "estimate": _estimate(final, weighted, on_test[-1], ensemble.plan, **unseen),
        "gain": _gain(members, ensemble, single, on_test[-1], on_test[best], metric=scorer, **bounded),
        "decision": None if ensemble.plan.decision is None else asdict(ensemble.plan.decision),
        "weights": _weights(members, ensemble),
        "holdout": _holdout(members, ensemble, metric=metric, **options) if members.holdout.ids else None,
    }  # fmt: skip


@dataclass(frozen=True)
class _Shown:
    """How single models and rungs stand beside the ensemble: decided as it is where a kind's decisions are worth most.

    Of one label per row scales move little, and models are shown as they are.
    """

    members: Members
    metric: Metric
    tuned: bool

    def values(self, values: np.ndarray) -> np.ndarray:
        """Return values (R, N, V), each fold decided as is best on the others."""
        kind, labels = self.members.kind, self.members.train.labels
        if not (self.tuned and kind.needed_errors(values.mean(axis=0), metric=self.metric)):
            return values
        repeats = zip(values[:, None], self.members.folds[:, None], strict=True)
        return np.stack([cross_fit_decision(labels, *repeat, kind=kind, metric=self.metric) for repeat in repeats])

    def candidate(self, plain: Candidate) -> Candidate:
        """Return the same with the decision that is best on all rows."""
        kind, values = self.members.kind, plain.out_of_fold
        if not (self.tuned and kind.needed_errors(values, metric=self.metric)):
            return plain
        parameters = kind.fit_decision(self.members.train.labels, values, metric=self.metric)
        return replace(plain, decide=lambda values: kind.apply_decision(values, parameters))


def _weights(members: Members, ensemble: Ensemble) -> dict[str, dict[str, float]]:
    shares = {name: ensemble.weights(name) for name in ensemble.fitted}
    return {name: dict(zip(members.names, of, strict=True)) for name, of in shares.items() if of is not None}


def _baseline(models: list[dict[str, Any]], metric: Metric) -> float | None:
    scores = [metric.sign * model["score"] for model in models if model["kind"] == "baseline"]
    return metric.sign * max(scores) if scores else None


def _unseen(members: Members, metric_name: str, scored_ratio: float) -> Unseen:
    n_test = len(members.test_ids)
    n_scored = min(n_test, max(1, round(scored_ratio * n_test)))
    bounds = components.constant("metrics", metric_name, "BOUNDS")
    return {"n_train": len(members.train.ids), "n_test": n_scored, "bounds": bounds}


def _diagnostics(members: Members, ensemble: Ensemble, singles: list[np.ndarray]) -> dict[str, Any]:
    targets, kind, final = members.train.labels, members.kind, ensemble.out_of_fold.mean(axis=0)
    agreement = scoring.error_agreement([kind.errors(targets, single.mean(axis=0)) for single in singles])
    decision = ensemble.plan.decision.scales if ensemble.plan.decision and ensemble.plan.decides else None
    shown: dict[str, Any] = {"labels": members.labels, "row_ids": members.train.ids, "decision": decision}
    described = kind.describe(targets, final, **shown)
    return {"labels": members.labels, "agreement": {"names": members.names, "values": agreement}, **described}


def _estimate(
    record: dict[str, Any], weighted: Interval | None, on_test: GainOnTest, plan: Plan, **unseen: Unpack[Unseen]
) -> dict[str, Any]:
    """Return the estimate; `weighted` is the score of rows weighted for test rows of another kind, None if they are not."""
    kept = {name: record[name] for name in ("score", "low", "high", "standard_error", "metrics", "averaging")}
    plain = Interval(record["score"], record["low"], record["high"], record["standard_error"])
    fitted = FITTED_DECISION if plan.decides else FITTED
    plain_range, used = (_on_test(score.widened(fitted), on_test, **unseen) for score in (plain, weighted or plain))
    shown = {"expected": used[0], "test_low": used[1], "test_high": used[2]}
    without = dict(zip(("expected", "test_low", "test_high"), plain_range, strict=True))
    return kept | {"twins": on_test.twins, **shown, "unweighted": without if weighted else None}


def _on_test(score: Interval, on_test: GainOnTest, **unseen: Unpack[Unseen]) -> tuple[float, float, float]:
    expected = replace(score, value=score.value + on_test.value)
    ends = unseen_interval(expected, error=on_test.standard_error, **unseen)
    return within(expected.value, unseen["bounds"]), *ends


def _weighted(members: Members, ensemble: Ensemble, *, metric: Metric, **bootstrap: Any) -> Interval | None:
    # Its interval takes the test rows' own error as if they were weighted too: wider than they are, as weights are estimates
    # (docs/scores.md: so it covers).
    if (weights := members.weights) is None:
        return None
    labels, values = members.train.labels, ensemble.out_of_fold.mean(axis=0)
    [resampled] = bootstrap_scores(
        labels, [values], metric=metric, row_weights=weights, clusters=members.train.clusters, **bootstrap
    )
    return interval(float(metric.resampled(labels, values, weights[None])[0]), resampled)


def _test_file(members: Members, submitted: Candidate) -> dict[str, Any]:
    """Return what sets the test file apart: twins, weights, and the labels that single fold models decide, nothing tuned."""
    weights, shift = members.weights, None
    if members.kind.form in FORMS:
        test = np.stack([members.kind.decide(values) for values in submitted.by_fold])
        shift = label_shift(members.kind.decide(submitted.out_of_fold), test, labels=members.labels)
    return {
        "twins": int((members.twins >= 0).sum()),
        "label_shift": shift,
        # Source: Kish, Survey Sampling, 1965.
        "effective_rows": None if weights is None else float(weights.sum() ** 2 / (weights**2).sum()),
    }


def _gain(
    members: Members, ensemble: Ensemble, single: np.ndarray, of_ensemble: GainOnTest, of_single: GainOnTest, *,
    metric: Metric, bounds: Bounds, **bootstrap: Any,
) -> dict[str, Any] | None:  # fmt: skip
    """Return what the ensemble gains on test rows over the single model that each fold would choose without its own rows."""
    if len(members.names) < 2:
        return None
    both = {"ensemble": ensemble.out_of_fold.mean(axis=0), "single": single}
    compared = compare(
        members.train.labels, both, metric=metric, clusters=members.train.clusters,
        on_test={"ensemble": of_ensemble.value, "single": of_single.value}, bounds=bounds, **bootstrap,
    )  # fmt: skip
    return asdict(compared.gain("ensemble", "single").widened(FITTED_GAIN).within(compared.bounds_of_gain))


def _holdout(members: Members, ensemble: Ensemble, *, metric: Metric, **bootstrap: Any) -> dict[str, Any]:
    """Return score, interval and rows of the hold-out, and what averaging the fold models gains on it."""
    rows = members.holdout
    by_fold = enumerate(members.holdout_by_fold)
    single = {str(fold): ensemble.decided(members, values, fold=fold) for fold, values in by_fold}
    compared = compare(
        rows.labels, {"mean": ensemble.holdout, **single}, metric=metric, clusters=rows.clusters, **bootstrap
    )
    value = compared.scores["mean"] - float(np.mean([compared.scores[fold] for fold in single]))
    resampled = compared.resampled["mean"] - np.mean([compared.resampled[fold] for fold in single], axis=0)
    return {"rows": len(rows.ids), **compared.score("mean"), "averaging": asdict(interval(value, resampled))}
