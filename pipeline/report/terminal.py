"""The scores as text for a terminal: what `stitchfold show` prints."""

from typing import Any

from pipeline.artifacts.scores import TaskScores, best_first, gains_by_split
from pipeline.number_formats import score, signed
from pipeline.report.cautions import premise_cautions


def scores_text(task: str, scores: TaskScores, audit: dict[str, Any] | None = None) -> str:
    """Return one task of scores.json as lines, the columns as wide as their longest entry; stitched models best first.

    With its audit, where it is there, last what speaks against the interval for the test rows.
    """
    stitched = iter(best_first((model for model in scores["models"] if model["kind"] == "stitched"), scores))
    models = [next(stitched) if model["kind"] == "stitched" else model for model in scores["models"]]
    kind = max(len(model["kind"]) for model in models)
    name = max(len(model["name"]) for model in models)
    estimate, tuned = scores["estimate"], (scores["decision"] or {}).get("used")
    how = f"{scores['chosen']}{', decision tuned' if tuned else ''}; chosen anew for every fold"
    n_folds = sum(len(folds) for folds in models[0]["folds"])
    expected = (
        f"  expected on the test rows, where {n_folds} fold models are averaged: {score(estimate['expected'])} "
        f"[{score(estimate['test_low'])}, {score(estimate['test_high'])}]"
    )
    where = {"test": "expected on the test rows" if scores["n_test"] else "out-of-fold", "holdout": "on the hold-out"}
    gains = [(f"by stitched models, {where[split]}", gain) for split, gain in gains_by_split(scores).items()]
    if scores["gain"]:
        gains.insert(0, (f"over the best single model, {where['test']}", scores["gain"]))
    return "\n".join([
        f"{task}{' (auxiliary)' * scores.get('auxiliary', False)}: {scores['metric']}, out-of-fold, 95 % interval",
        *(
            f"  {model['kind']:<{kind}}  {model['name']:<{name}}  {score(model['score'])}  "
            f"[{score(model['low'])}, {score(model['high'])}]"
            for model in models
        ),
        f"  estimate of the ensemble ({how}): {score(estimate['score'])}",
        *(f"  gain {name}: {signed(gain['value'])} [{signed(gain['low'])}, {signed(gain['high'])}]" for name, gain in gains),
        *([expected] if scores["n_test"] else ()),
        *(f"  caution: {caution}" for caution in (premise_cautions(scores, audit) if audit else ())),
    ])  # fmt: skip
