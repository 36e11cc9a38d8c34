"""The choices of the ensemble: which rung, whether and how to scale the labels, and the worlds in which to choose.

Source: the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, ch. 3.4.3. What the
parameters of a decision are, such as scales of the labels, is a matter of the task's kind. All functions choose on the rows
they are given and nothing else: who wants an honest score gives them rows that are not scored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from typing import Any, TypedDict, Unpack

import numpy as np

from pipeline.contracts import Metric, Stacker, TaskKind
from pipeline.ensemble.intervals import compare
from pipeline.params.fields import Component
from pipeline.reproducibility import derive_seed

N_RESAMPLES = 200  # gives a standard error to within 5 %, enough to choose by


@dataclass(frozen=True)
class Decision:
    """Scales of the labels (C,), whether they are used, and what they gained cross-fitted, positive being better."""

    used: bool
    scales: list[float]
    gain: float
    standard_error: float


@dataclass(frozen=True)
class Plan:
    """What was chosen: the position of the rung on the ladder, and the decision (None: not tuned)."""

    rung: int
    decision: Decision | None


def build_ladder(rungs: Sequence[Component], *, metric: Metric, seed: int) -> dict[str, Callable[[], Stacker]]:
    """Return by name what builds each rung, simplest first; a stacker listed again is called `<name>-2`, and so on."""
    ladder: dict[str, Callable[[], Stacker]] = {}
    names = [rung.name for rung in rungs]
    for position, rung in enumerate(rungs, start=1):
        number = names[:position].count(rung.name)
        name = rung.name if number == 1 else f"{rung.name}-{number}"
        ladder[name] = partial(rung.build, metric=metric, seed=derive_seed(seed, "stacker", name))
    return ladder


def cross_fit(
    build: Callable[[], Stacker], probabilities: np.ndarray, labels: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Return a rung's predictions in K worlds, an array (K, N, C): world k never saw the labels of fold k.

    In world k the rows of fold k come from a stacker fitted on all other folds, and the rows of fold j from one fitted
    on all folds but j and k. So world k offers honest predictions to choose by, for the score of fold k. With two
    folds nothing is left to fit on for the latter, and they are uniform.

    Args:
        build: makes an unfitted stacker.
        probabilities: of the members, (N, M, C).
        labels, folds: int arrays (N,); folds are numbered 0 to K - 1.
    """
    n_folds, (n_rows, _, n_outputs) = int(folds.max()) + 1, probabilities.shape
    worlds = np.full((n_folds, n_rows, n_outputs), 1 / n_outputs)
    # One fit without folds j and k serves both: row j of world k and row k of world j. So K (K + 1) / 2 fits, not K^2.
    for first, second in combinations_with_replacement(range(n_folds), 2):
        rest = (folds != first) & (folds != second)
        if not rest.any():
            continue
        stacker = build()
        stacker.fit(probabilities[rest], labels[rest])
        for world, fold in {(first, second), (second, first)}:
            worlds[world, folds == fold] = stacker.predict(probabilities[folds == fold])
    return worlds


def own_folds(worlds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the cross-fitted predictions (N, C): each row from the world that never saw its fold."""
    return worlds[folds, np.arange(len(folds))]


class Choosing(TypedDict):
    """What choices depend on besides rows: the kind of task, what is to be good, and whether to tune the decision."""

    kind: TaskKind
    metric: Metric
    tune: bool


def make_plan(
    labels: np.ndarray, candidates: Sequence[np.ndarray], folds: np.ndarray, *, clusters: np.ndarray, seed: int,
    **choosing: Unpack[Choosing],
) -> Plan:  # fmt: skip
    """Choose the rung and, where that can help, the decision from cross-fitted predictions.

    Args:
        labels: int array (N,).
        candidates: per rung, simplest first, cross-fitted probabilities (R, N, C) of R repeats.
        folds: int array (R, N).
        clusters: array (N,); rows that share a value are resampled together.
        seed, choosing: of the bootstrap; see `Choosing`.
    """
    kind, metric = choosing["kind"], choosing["metric"]
    means = [candidate.mean(axis=0) for candidate in candidates]
    rung = choose_rung(labels, means, clusters=clusters, metric=metric, seed=derive_seed(seed, "rung"))
    if not (choosing["tune"] and kind.can_tune(means[rung], metric=metric)):
        return Plan(rung, None)
    own_seed = derive_seed(seed, "decision")
    options: dict[str, Any] = {"clusters": clusters, "kind": kind, "metric": metric, "seed": own_seed}
    return Plan(rung, tune_decision(labels, candidates[rung], folds, **options))


def choose_rung(
    labels: np.ndarray, candidates: Sequence[np.ndarray], *, clusters: np.ndarray, metric: Metric, seed: int
) -> int:
    """Return the position of the simplest (first) candidate within one standard error of the best.

    The standard error is that of the paired bootstrap difference to the best: candidates score the same rows, so their
    errors largely cancel. A candidate without a score (NaN) is never chosen; where all are without one the first is.
    """
    if len(candidates) == 1:
        return 0
    by_position = dict(enumerate(candidates))
    compared = compare(labels, by_position, metric=metric, clusters=clusters, n_resamples=N_RESAMPLES, seed=seed)
    best: int = compared.best(by_position)
    simpler = [compared.gain(best, position) for position in range(best)]
    return next((rung for rung, lost in enumerate(simpler) if lost.value <= lost.standard_error), best)


def tune_decision(
    labels: np.ndarray, probabilities: np.ndarray, folds: np.ndarray, *, clusters: np.ndarray, kind: TaskKind,
    metric: Metric, seed: int,
) -> Decision:  # fmt: skip
    """Return scales found on all rows, used only if scales found on the other folds gain more than one standard error.

    Labels and clusters are arrays (N,), probabilities (R, N, C) of R repeats, folds (R, N); the metric is one that the
    decision can serve.
    """
    plain, tuned = probabilities.mean(axis=0), np.empty_like(probabilities)
    for repeat, (values, numbers) in enumerate(zip(probabilities, folds, strict=True)):
        for fold in np.unique(numbers):
            inside = numbers == fold
            # Scales found on a row's own fold would flatter it: those of the other folds say what tuning is worth.
            scales = kind.fit_decision(labels[~inside], values[~inside], metric=metric)
            tuned[repeat, inside] = kind.apply_decision(values[inside], scales)
    candidates = {"plain": plain, "tuned": tuned.mean(axis=0)}
    compared = compare(labels, candidates, metric=metric, clusters=clusters, n_resamples=N_RESAMPLES, seed=seed)
    gain, scales = compared.gain("tuned", "plain"), kind.fit_decision(labels, plain, metric=metric)
    return Decision(bool(gain.value > gain.standard_error), scales, float(gain.value), gain.standard_error)


def decide(probabilities: np.ndarray, plan: Plan, *, kind: TaskKind) -> np.ndarray:
    """Return a rung's probabilities (N, C) as the plan's decision has them."""
    if plan.decision is None or not plan.decision.used:
        return probabilities
    return kind.apply_decision(probabilities, plan.decision.scales)


def cross_fit_plan(
    labels: np.ndarray, worlds: Sequence[np.ndarray], folds: np.ndarray, *, clusters: np.ndarray, seed: int,
    **choosing: Unpack[Choosing],
) -> np.ndarray:  # fmt: skip
    """Return one repeat's predictions (N, C), every choice for a fold made in the world without that fold.

    `worlds` holds per rung what `cross_fit` returned; `folds` (N,) are numbered 0 to K - 1; the rest as in `make_plan`.
    """
    result = np.empty_like(worlds[0][0])
    for fold in range(len(worlds[0])):
        inside = folds == fold
        seen = [world[fold][~inside][None] for world in worlds]
        rest: dict[str, Any] = {"clusters": clusters[~inside], "seed": derive_seed(seed, fold)}
        plan = make_plan(labels[~inside], seen, folds[~inside][None], **rest, **choosing)
        result[inside] = decide(worlds[plan.rung][fold][inside], plan, kind=choosing["kind"])
    return result
