"""The scores as text for a terminal: what `stitchfold show` prints."""

from typing import Any

from pipeline.number_formats import score, signed


def scores_text(task: str, found: dict[str, Any]) -> str:
    """Return one task of scores.json as lines, the columns as wide as their longest entry; stitched models best first."""
    best_first = -1 if found["higher_is_better"] else 1
    models = list(found["models"])
    places = [place for place, model in enumerate(models) if model["kind"] == "stitched"]
    stitched = sorted(
        (models[place] for place in places),
        key=lambda model: (model["score"] is None, best_first * (model["score"] or 0)),
    )
    for place, model in zip(places, stitched, strict=True):
        models[place] = model
    kind, name = (max(len(model[key]) for model in models) for key in ("kind", "name"))
    lines = [f"{task}: {found['metric']}, out-of-fold, 95 % interval"]
    lines += [
        f"  {model['kind']:<{kind}}  {model['name']:<{name}}  {score(model['score'])}  "
        f"[{score(model['low'])}, {score(model['high'])}]"
        for model in models
    ]
    estimate, tuned = found["estimate"], (found["decision"] or {}).get("used")
    how = f"{found['chosen']}{', decision tuned' if tuned else ''}; chosen anew for every fold"
    lines.append(f"  estimate of the ensemble ({how}): {score(estimate['score'])}")
    lines += _stitching_lines(found["stitching"])
    lines.append(f"  expected on the test rows: {score(estimate['test_low'])} to {score(estimate['test_high'])}")
    return "\n".join(lines)


def _stitching_lines(stitching: dict[str, Any] | None) -> list[str]:
    """Return the gain of the ensemble by its stitched models, a line for each split."""
    differences = (stitching and stitching["difference"]) or {}
    names = {"oof": "out-of-fold", "holdout": "on the hold-out"}
    return [
        f"  gain by stitched models, {where}: {signed(gain['value'])} [{signed(gain['low'])}, {signed(gain['high'])}]"
        for split, where in names.items()
        if (gain := differences.get(split))
    ]
