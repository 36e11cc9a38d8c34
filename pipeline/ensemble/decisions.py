"""The choices of the ensemble: which rung, whether and how to scale the labels, and the worlds in which to choose.

What the parameters of a decision are, such as scales of the labels, is a matter of the task's kind. All functions choose on
the rows they are given and nothing else: who wants an honest score gives them rows that are not scored.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from typing import Any, TypedDict, Unpack

import numpy as np

from pipeline.contracts import Metric, Stacker, TaskKind
from pipeline.ensemble.intervals import Interval, compare
from pipeline.params.fields import Component
from pipeline.reproducibility import derive_seed

logger = logging.getLogger(__name__)
LINE_SECONDS = 30.0
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

    @property
    def decides(self) -> bool:
        """Whether the decision is used."""
        return self.decision is not None and self.decision.used


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
    build: Callable[[], Stacker],
    probabilities: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    name: str = "rung",
) -> tuple[np.ndarray, list[Stacker]]:
    """Return a rung's predictions in K worlds, an array (K, N, C), and the K stackers that score and are submitted.

    World k never saw the labels of fold k, nor did stacker k, which was fitted on all other folds.

    In world k the rows of fold k come from a stacker fitted on all other folds, and the rows of fold j from one fitted
    on all folds but j and k. So world k offers honest predictions to choose by, for the score of fold k. With two
    folds nothing is left to fit on for the latter, and they are the members' mean.

    Args:
        build: makes an unfitted stacker.
        probabilities: of the members, (N, M, C).
        labels, folds: int arrays (N,); folds are numbered 0 to K - 1.
        name: by which a log line every 30 seconds says how far it is.
    """
    n_folds = int(folds.max()) + 1
    worlds, stackers = np.tile(probabilities.mean(axis=1), (n_folds, 1, 1)), list[Stacker]()
    # One fit without folds j and k serves both: row j of world k and row k of world j. So K (K + 1) / 2 fits, not K^2.
    pairs, shown = list(combinations_with_replacement(range(n_folds), 2)), time.monotonic()
    for number, (first, second) in enumerate(pairs):
        if time.monotonic() - shown >= LINE_SECONDS:
            logger.info("%s: %d of %d fits", name, number, len(pairs))
            shown = time.monotonic()
        rest = (folds != first) & (folds != second)
        if not rest.any():
            continue
        stacker = build()
        stacker.fit(probabilities[rest], labels[rest])
        if first == second:
            stackers.append(stacker)
        for world, fold in {(first, second), (second, first)}:
            worlds[world, folds == fold] = stacker.predict(probabilities[folds == fold])
    return worlds, stackers


def own_folds(worlds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the cross-fitted predictions (N, C): each row from the world that never saw its fold."""
    return worlds[folds, np.arange(len(folds))]


class Choosing(TypedDict):
    """What choices depend on besides rows: the kind of task, what is to be good, and how surely a decision must pay.

    A tuned decision must gain more than `tune_above` standard errors to be used; None tunes nothing.
    """

    kind: TaskKind
    metric: Metric
    tune_above: float | None


def make_plan(
    labels: np.ndarray, candidates: Sequence[np.ndarray], folds: np.ndarray, *, clusters: np.ndarray, seed: int,
    use: bool | None = None, **choosing: Unpack[Choosing],
) -> Plan:  # fmt: skip
    """Choose the rung and, where that can help, the decision from cross-fitted predictions.

    The best rung is taken as it is, unless with a tuned decision it, or where any gain counts the rung that is then best,
    gains more than is needed.

    Args:
        labels: int array (N,).
        candidates: per rung, simplest first, cross-fitted probabilities (R, N, C) of R repeats.
        folds: int array (R, N).
        clusters: array (N,); rows that share a value are resampled together.
        seed, choosing: of the bootstrap; see `Choosing`.
        use: whether the decision is to be used; None chooses that too, and says what it gains.
    """
    kind, metric, needed = choosing["kind"], choosing["metric"], choosing["tune_above"]
    plain = [candidate.mean(axis=0) for candidate in candidates]
    rung = best_of(labels, plain, metric=metric)
    least = kind.needed_errors(plain[rung], metric=metric)
    if use is False or needed is None or least is None:
        return Plan(rung, None)
    tried = [rung] if needed else list(range(len(candidates)))
    tuned = [cross_fit_decision(labels, candidates[number], folds, kind=kind, metric=metric) for number in tried]
    best = best_of(labels, tuned, metric=metric)
    if use is None:
        both = {"plain": plain[rung], "tuned": tuned[best]}
        compared = compare(labels, both, metric=metric, clusters=clusters, n_resamples=N_RESAMPLES, seed=seed)
        gain = compared.gain("tuned", "plain")
        use = bool(gain.value > max(needed, least) * gain.standard_error)
    else:
        gain = Interval(0.0, 0.0, 0.0, 0.0)
    chosen = tried[best] if use else rung
    scales = kind.fit_decision(labels, plain[chosen], metric=metric)
    return Plan(chosen, Decision(use, scales, float(gain.value), gain.standard_error))


def best_of(labels: np.ndarray, candidates: Sequence[np.ndarray], *, metric: Metric) -> int:
    """Return the position of the best of probabilities (N, C), the first of equals; one without a score (NaN) is never it."""
    scores = [metric.sign * metric.score(labels, candidate) for candidate in candidates]
    return int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))


def cross_fit_decision(
    labels: np.ndarray, probabilities: np.ndarray, folds: np.ndarray, *, kind: TaskKind, metric: Metric
) -> np.ndarray:
    """Return probabilities (N, C), each fold's decided as is best on the other folds: what tuning is worth.

    Labels are (N,), probabilities (R, N, C) of R repeats, folds (R, N).
    """
    tuned = np.empty_like(probabilities)
    for repeat, (values, numbers) in enumerate(zip(probabilities, folds, strict=True)):
        for fold in np.unique(numbers):
            inside = numbers == fold
            scales = kind.fit_decision(labels[~inside], values[~inside], metric=metric)
            tuned[repeat, inside] = kind.apply_decision(values[inside], scales)
    result: np.ndarray = tuned.mean(axis=0)
    return result


def decide(probabilities: np.ndarray, plan: Plan, *, kind: TaskKind) -> np.ndarray:
    """Return a rung's probabilities (N, C) as the plan's decision has them."""
    if plan.decision is None or not plan.decides:
        return probabilities
    return kind.apply_decision(probabilities, plan.decision.scales)


def cross_fit_best(
    labels: np.ndarray, candidates: Sequence[np.ndarray], folds: np.ndarray, *, metric: Metric
) -> np.ndarray:
    """Return for each fold the predictions of the candidate, (R, N, C) each, that is best on the other folds (R, N)."""
    result = np.empty_like(candidates[0])
    for repeat, numbers in enumerate(folds):
        for fold in np.unique(numbers):
            inside = numbers == fold
            best = best_of(labels[~inside], [candidate[repeat, ~inside] for candidate in candidates], metric=metric)
            result[repeat, inside] = candidates[best][repeat, inside]
    return result


def cross_fit_plan(
    labels: np.ndarray, worlds: Sequence[np.ndarray], folds: np.ndarray, *, clusters: np.ndarray, seed: int,
    use: bool, **choosing: Unpack[Choosing],
) -> np.ndarray:  # fmt: skip
    """Return one repeat's predictions (N, C), every choice for a fold made in the world without that fold.

    Only whether a decision is used is given: what is estimated must be what is submitted. `worlds` holds per rung what
    `cross_fit` returned; `folds` (N,) are numbered 0 to K - 1; the rest as in `make_plan`.
    """
    result = np.empty_like(worlds[0][0])
    for fold in range(len(worlds[0])):
        inside = folds == fold
        seen = [world[fold][~inside][None] for world in worlds]
        rest: dict[str, Any] = {"clusters": clusters[~inside], "seed": derive_seed(seed, fold)}
        plan = make_plan(labels[~inside], seen, folds[~inside][None], use=use, **rest, **choosing)
        result[inside] = decide(worlds[plan.rung][fold][inside], plan, kind=choosing["kind"])
    return result
