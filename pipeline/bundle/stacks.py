"""How a bundle's members are combined: the ensemble as it was fitted or without some of them, and what each is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline import components
from pipeline.artifacts.files import read_json
from pipeline.artifacts.likeness import read_likeness
from pipeline.artifacts.paths import ensemble_path, predictions_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.sources import AGREEMENT
from pipeline.ensemble.contributions import cross_fitted, leave_out_rung
from pipeline.ensemble.members import Members
from pipeline.ensemble.stacking import build_ensemble
from pipeline.ensemble.task_stack import choices, gather
from pipeline.errors.exceptions import DataError
from pipeline.params.root import Params


@dataclass(frozen=True)
class Stacked:
    """What is stacked: `members` in the order in which a run adds them, the `stack` of all and of each beginning of them.

    `scores` are out-of-fold, by what each stack is called; `costs` by member what the score loses without it; `average` (V,).
    """

    members: list[str]
    stacks: list[dict[str, Any]]
    scores: dict[str, float]
    costs: dict[str, float]
    average: list[float]


def stack_members(params: Params, task: str, without: Sequence[str], *, table: Table, folds: Folds) -> Stacked:
    """Return the ensemble of `out/`, or the one that is fitted anew where some members are left out.

    The beginnings of the members, for runs that end early, are averaged.

    Raises:
        DataError: if `out/` holds an ensemble of other members or predictions.
    """
    everyone, _ = gather(task, params, table=table, folds=folds, likeness=read_likeness())
    members = everyone.only(params.members)
    metrics, options = choices(task, params, members)
    metric_name = params.tasks[task].metric.name
    scorer = members.scorer(metric_name, metrics[metric_name])

    def score(values: np.ndarray) -> float:
        return float(scorer.score(members.train.labels, values))

    stored = _stored_state(params, task, members, folds)
    of_all = read_predictions(predictions_path("stack", "ensemble", task), manifest=folds.digest)
    values = probabilities_of(of_all, "oof", members.train.ids, kind=members.kind)
    scores = {"ensemble": score(values)}
    ordered = _in_order([name for name in members.names if name not in without], params, members, score, scorer.sign)
    kept = members.only([name for name in members.names if name not in without])
    state = stored
    if without:
        ensemble = build_ensemble(kept, **options)
        state, values = ensemble.state(kept), ensemble.out_of_fold.mean(axis=0)
        scores["bundle"] = score(values)
    [mean] = components.having("stackers", "KEEPS_SINGLE")
    ladder = {mean: partial(components.build, "stackers", mean, metric=options["metric"], seed=params.seed)}
    stacks = [_described(params, state)]
    for n_first in range(1, len(ordered)):
        part = members.only(ordered[:n_first])
        ensemble = build_ensemble(part, **{**options, "ladder": ladder})
        stacks.append(_described(params, ensemble.state(part)))
        scores[ordered[n_first - 1]] = score(ensemble.out_of_fold.mean(axis=0))
    scores[ordered[-1]] = scores.get("bundle", scores["ensemble"])
    costs = _costs(kept, state["rung"], options, score, scorer.sign)
    return Stacked(ordered, stacks, scores, costs, values.mean(axis=0).tolist())


def _in_order(names: Sequence[str], params: Params, members: Members, score: Any, sign: int) -> list[str]:
    """Return members as a run adds them: baselines, which take no time, first, then the best of the others first."""
    scores = {name: sign * score(members.candidate(name).out_of_fold) for name in names}
    return sorted(names, key=lambda name: (params.stages[name] != "baseline", -scores[name]))


def _stored_state(params: Params, task: str, members: Members, folds: Folds) -> dict[str, Any]:
    path = ensemble_path(task)
    if not path.is_file():
        raise DataError(f"{path}: the ensemble is not computed yet. Run dvc repro.")
    state: dict[str, Any] = read_json(path)
    remedy = "Run dvc repro, then stitchfold bundle."
    if state["members"] != members.names:
        raise DataError(f"{path}: must stack {members.names}, got {state['members']}. {remedy}")
    stored = read_predictions(predictions_path("stack", "ensemble", task), manifest=folds.digest)
    described = {"kind": [params.tasks[task].kind.name, params.tasks[task].kind.options]}
    bundle: Any = Bundle(path.parent, described | {"stacks": [_described(params, state)], "labels": members.labels})
    parts = {name: members.test_probabilities[:, place] for place, name in enumerate(members.names)}
    again = members.kind.values(members.kind.logits(bundle.combined(parts, len(members.test_ids))))
    known = probabilities_of(stored, "test", members.test_ids, kind=members.kind)
    if not np.allclose(again, known, rtol=AGREEMENT, atol=AGREEMENT):
        raise DataError(f"{path}: was fitted on other predictions than those in out/. {remedy}")
    return state


def _described(params: Params, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack as bundle.json has it: the component of its rung, its states one after another, what is decided."""
    name, _, number = state["rung"].partition("-")
    alike = [rung for rung in params.stack.ladder if rung.name == name]
    options = alike[int(number or 1) - 1].options if alike else {}
    decision = state["decision"]
    return {
        "members": state["members"], "component": [name, options],
        "states": [fitted for of_repeat in state["states"] for fitted in of_repeat],
        "decision": decision["scales"] if decision and decision["used"] else None,
    }  # fmt: skip


def _costs(members: Members, chosen: str, options: dict[str, Any], score: Any, sign: int) -> dict[str, float]:
    """Return what the score loses without each member, cross-fitted as `adds` of scores.json is: below 0 it gains."""
    if len(members.names) < 2:
        return {}
    rung = leave_out_rung(members, chosen=chosen, ladder=options["ladder"], n_left_out=len(members.names))
    build = options["ladder"].get(rung) or partial(
        components.build, "stackers", rung, metric=options["metric"], seed=options["seed"]
    )
    whole = score(cross_fitted(members, build))
    rest = {name: members.only([other for other in members.names if other != name]) for name in members.names}
    return {name: sign * (whole - score(cross_fitted(others, build))) for name, others in rest.items()}
