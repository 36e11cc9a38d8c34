"""What edits of params.yaml make of it, all checked before anything trains, and of which model that can be compared."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pipeline import components
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.params.edits import Edit, parse_edit
from pipeline.params.loading import load_params
from pipeline.params.root import Params

AS_IS = "as it is"
STITCHED = "stitched"
TOGETHER = " & "  # between edits that are tried as one
# Why a section cannot be compared out-of-fold, and what to do.
OTHER_ROWS = (
    "other rows, folds or targets leave nothing to pair",
    "Set it in params.yaml, run dvc repro and read both reports",
)
NO_MODEL = "it changes no model", "Set it in params.yaml and run dvc repro: nothing trains again"
REFUSED = {
    "competition": OTHER_ROWS, "tasks": OTHER_ROWS, "folds": OTHER_ROWS, "stack": NO_MODEL, "submit": NO_MODEL,
    "run": NO_MODEL, "seed": ("a seed is no choice that pays", "Set --seeds to train under several"),
}  # fmt: skip


def read_variants(
    path: Path, texts: Sequence[str], *, model: str | None, grid: bool, always: Sequence[str] = ()
) -> tuple[str, dict[str, Params]]:
    """Return which model is compared, and by name what params.yaml is as it is and under the edits.

    Args:
        path: of the params file.
        texts: edits such as `encoders.bert.loss=focal`, each a variant; ` & ` joins edits that are tried together.
        model: an encoder, a baseline or `stitched`; None: what the edits name, else the first encoder.
        grid: whether edits of different keys are also tried in all combinations.
        always: edits, of the encoder `{}`, that apply to what is compared with as well.

    Raises:
        ParamsError: with all that is wrong: of what an edit names or makes of the params, or that it changes nothing.
    """
    tried = [[parse_edit(part) for part in text.split(TOGETHER)] for text in texts]
    plain = load_params(path)
    named = _model(plain, [edit for edits in tried for edit in edits], model)
    if always and named not in plain.encoders:
        raise ParamsError(f"model: must be an encoder, {expected(named, plain.encoders)}")
    base = [parse_edit(text.format(named)) for text in always]
    variants, problems = {AS_IS: load_params(path, base)}, list[str]()
    for edits in _combined(tried) if grid else tried:
        name = TOGETHER.join(edit.text.removeprefix(f"encoders.{named}.") for edit in edits)
        try:
            variants[name] = _variant(path, base, edits, named, variants[AS_IS])
        except ParamsError as error:
            problems += str(error).splitlines()
    if problems:
        raise ParamsError("\n".join(dict.fromkeys(problems)))
    return named, variants


def _combined(tried: list[list[Edit]]) -> Iterable[list[Edit]]:
    """Return all choices, but the empty one, of at most one of the edits with the same keys."""
    by_keys: dict[Any, list[list[Edit]]] = {}
    for edits in tried:
        by_keys.setdefault(tuple(edit.location for edit in edits), [[]]).append(edits)
    return [[edit for part in parts for edit in part] for parts in product(*by_keys.values()) if any(parts)]


def _variant(path: Path, base: list[Edit], edits: list[Edit], model: str, reference: Params) -> Params:
    for edit in edits:
        section = edit.location[0]
        if section in REFUSED:
            reason, remedy = REFUSED[section]
            raise ParamsError(f"{edit.text}: cannot be compared out-of-fold, as {reason}. {remedy}.")
        if section not in Params.model_fields:
            raise ParamsError(f"{edit.text}: is no section of params.yaml, {expected(section, Params.model_fields)}")
    params = load_params(path, [*base, *edits])
    if _decides(params, model) == _decides(reference, model):
        name = TOGETHER.join(edit.text for edit in edits)
        raise ParamsError(
            f"{name}: must change something of {model}, which is compared, got what it is. Correct it, or set --model."
        )
    return params


def _model(params: Params, edits: list[Edit], model: str | None) -> str:
    """Return the model that is compared."""
    known = [*params.encoders, *params.baselines, *([STITCHED] if params.stitch.models(list(params.encoders)) else [])]
    named = [STITCHED for edit in edits if edit.location[0] == "stitch"]
    named += [edit.location[1] for edit in edits if edit.location[0] in ("encoders", "baselines") and edit.location[1:]]
    chosen = model or next(iter(named), next(iter(params.encoders)))
    if chosen not in known:
        raise ParamsError(f"model: {expected(chosen, known)}")
    return chosen


def _decides(params: Params, model: str) -> Any:
    """Return the parts of params that decide what a model predicts."""
    if model in params.baselines:
        return params.baselines[model]
    encoders = params.encoders if model == STITCHED else {model: params.encoders[model]}
    parts: list[Any] = [encoders, params.stitch if model == STITCHED else None]
    return [*parts, params.augment] if any(map(reads_augment, encoders.values())) else parts


def reads_augment(encoder: Any) -> bool:
    """Return whether the settings of an encoder make what `augment` makes matter."""
    return bool(encoder.augment or components.constant("objectives", encoder.objective.name, "READS"))
