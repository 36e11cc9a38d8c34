"""Leaks, looked for in what lies on disk: who trained on what, by ids and digests; where nothing says so, by numbers.

The stages refuse what they can see while they work. This looks again at the finished whole, whoever made its parts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.artifacts.copies import BARRED, COPIES, Copies, no_copies, normalised, read_copies
from pipeline.artifacts.files import read_json
from pipeline.artifacts.frames import read_frame
from pipeline.artifacts.histories import UnitRecord, place_of, read_history
from pipeline.artifacts.paths import AUDIT, CLUSTERS, FOLDS, OUT, REPORT, STITCHED, ensemble_path, predictions_path
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.table import HOLDOUT_FOLD, TRAIN_FOLD, Folds, Table, read_folds, read_table
from pipeline.data.fold_jobs import fold_jobs, rows_digest
from pipeline.ensemble.decisions import build_ladder
from pipeline.ensemble.members import gather_members
from pipeline.errors.exceptions import DataError
from pipeline.params.encoders import Training
from pipeline.params.root import Params
from pipeline.report.leak_signs import Leak, label_in_order, surer_of_scored_rows
from pipeline.report.leaks_of_predictions import ENSEMBLE, made_over_other_folds, not_cross_fitted
from pipeline.report.leaks_of_texts import label_in_text, rows_near_other_folds
from pipeline.text.near_duplicates import near_pairs, row_texts

Units = Sequence[UnitRecord]
Place = tuple[str, int, int]


def find_leaks(params: Params) -> list[Leak]:
    """Return every leak of the finished run in `out/`, the certain ones first.

    Raises:
        MachineError: if an artifact is missing or damaged.
    """
    table, folds = read_table(), read_folds()
    clusters = read_frame(CLUSTERS)[0]
    leaks = [*straddling(table, folds, clusters), *rows_near_other_folds(table, folds)]
    leaks += [*label_in_text(table), *label_in_order(table, clusters)]
    try:
        copies = read_copies(manifest=folds.digest)
    except DataError as error:
        copies = no_copies()
        leaks.append(Leak("copies of another fold manifest", "", str(error)))
    leaks += leaking_copies(copies, table, folds, similarity=params.folds.near_duplicate_similarity)
    leaks += _leaks_of_units(params, table, folds)
    for task in params.tasks:
        leaks += _leaks_of_predictions(params, table, folds, task)
    return sorted(leaks, key=lambda leak: not leak.certain)


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Raise the first of the certain leaks.

    Raises:
        DataError: if there is one.
    """
    if certain := [leak for leak in leaks if leak.certain]:
        text = f"{certain[0].text} ({len(certain)} leaks in all: see {REPORT / 'report.html'}.)"
        raise DataError(text, code="E311", kept="The report, which lists them, and all that was trained.")


def straddling(table: Table, folds: Folds, clusters: pd.DataFrame) -> Iterator[Leak]:
    """Yield rows that belong together and lie in several folds: of a group, near-duplicates, or equal after folding."""
    for task in table.labels:
        train = table.select(task, "train")
        near = clusters[(clusters["task"] == task) & (clusters["split"] == "train")].set_index("row_id")["cluster"]
        keys = {"of one group": train["group"], "near-duplicates": train["row_id"].map(near)}
        keys["equal but for case, width, blanks or script"] = normalised(train)
        for repeat in folds.rows.loc[folds.rows["task"] == task, "repeat"].unique():
            fold = train["row_id"].map(folds.select(task, int(repeat)).set_index("row_id")["fold"])
            for what, key in keys.items():
                n_folds = fold.groupby(key).nunique()
                torn = n_folds.index[n_folds > 1]
                if len(torn):
                    first = train.loc[key == torn[0], "row_id"].tolist()[:5]
                    yield Leak(
                        f"rows straddle folds: {what}", task,
                        f"{FOLDS}: rows that are {what} must share a fold, got {len(torn)} sets that do not, first "
                        f"rows {first}. Run dvc repro --force --single-item split",
                    )  # fmt: skip


def leaking_copies(copies: Copies, table: Table, folds: Folds, *, similarity: float | None) -> Iterator[Leak]:
    """Yield copies whose parent is scored where they are trained on, and those that say what a scored row says.

    `similarity` says from where on texts are near-duplicates; None takes equal ones only.
    """
    again = "Run dvc repro --force --single-item augment"
    barred = pd.MultiIndex.from_frame(copies.barred[["copy_id", "fold"]])
    for task, repeat in copies.rows[["task", "repeat"]].drop_duplicates().itertuples(index=False):
        made = copies.rows[(copies.rows["task"] == task) & (copies.rows["repeat"] == repeat)]
        fold_of = folds.select(task, int(repeat)).set_index("row_id")["fold"]
        of_parent = made["row_id"].map(fold_of)
        strangers = made[(of_parent != made["fold"]) | (of_parent == HOLDOUT_FOLD)]
        if len(strangers):
            row = strangers.iloc[0]
            yield Leak(
                "copies of scored rows", task,
                f"{COPIES}: a copy must lie in its row's fold, got {len(strangers)} that do not, first {row['copy_id']!r} of "
                f"row {row['row_id']!r}, which is scored where the copy is trained on. {again}",
            )  # fmt: skip
        train = table.select(task, "train")
        of_copies, of_rows = near_pairs(row_texts(made), row_texts(train), similarity=similarity)
        met, rows = made.iloc[of_copies][["copy_id", "fold"]].reset_index(drop=True), train.iloc[of_rows]
        met = met.assign(scored=rows["row_id"].map(fold_of).to_numpy(), like=rows["row_id"].to_numpy())
        met["equal"] = normalised(made).iloc[of_copies].to_numpy() == normalised(rows).to_numpy()
        scored = (met["scored"] != met["fold"]) & (met["scored"] != TRAIN_FOLD)
        used = scored & ~pd.MultiIndex.from_frame(met[["copy_id", "scored"]]).isin(barred)
        for equal, what in ((True, "equal"), (False, "nearly equal")):
            leaking = met[used & (met["equal"] == equal)]
            if len(leaking):
                row = leaking.iloc[0]
                yield Leak(
                    f"copies {what} to scored rows", task,
                    f"{BARRED}: a copy {what} to a row must be barred from the training for its fold, got "
                    f"{len(leaking)} that are not, first {row['copy_id']!r} like row {row['like']!r}. {again}",
                    certain=equal,
                )  # fmt: skip


def _leaks_of_units(params: Params, table: Table, folds: Folds) -> Iterator[Leak]:
    jobs = {(job.task, job.repeat, job.fold): job for job in fold_jobs(table, folds, seed=params.seed)}
    fitted = {key: job.to_fit for key, job in jobs.items()}
    ways = {settings.epoch_selection for settings in params.encoders.values()}
    allowed = {way: allowed_rows(fitted, way) for way in ways}
    models: dict[str, dict[Place, str]] = {}
    for name, settings in params.encoders.items():
        units = read_history(OUT / "finetune" / name)
        models[name] = {place_of(unit): unit["model"] for unit in units}
        yield from trained_on_scored_rows(f"finetune@{name}", units, allowed[settings.epoch_selection], settings)
        yield from begun_at_other_folds(f"finetune@{name}", units)
    names = list(params.stitch.models(list(params.encoders)))
    histories = {name: read_history(OUT / "stitch" / name) for name in names}
    if names:
        if params.stitch.head_rows == "held_out":
            from pipeline.stitch.fold_encoders import head_rows  # imports transformers, which takes seconds

            first = params.encoders[histories[names[0]][0]["encoders"][0]]
            fitted = {key: head_rows(job, params.stitch, first) for key, job in jobs.items()}
        heads = allowed_rows(fitted, params.stitch.epoch_selection)
    for name, units in histories.items():
        yield from trained_on_scored_rows(f"stitch, {name}", units, heads, params.stitch)
        if params.stitch.base == "finetuned":  # what is not fine-tuned has seen no label of any fold
            yield from heads_over_other_folds(OUT / "stitch" / name, units, models)


def allowed_rows(fitted: Mapping[Place, pd.DataFrame], epoch_selection: str) -> dict[Place, tuple[int, str]]:
    """Return number and digest of the rows that each fold's models may train on, as their training records them."""
    return {
        key: (len(rows), rows_digest(rows if epoch_selection == "inner" else rows.drop(columns="cluster")))
        for key, rows in fitted.items()
    }


def trained_on_scored_rows(
    name: str, units: Units, allowed: Mapping[Place, tuple[int, str]], settings: Training
) -> Iterator[Leak]:
    """Yield the fold models that learnt from, or whose epoch was chosen on, other rows than their fold allows.

    `allowed` holds number and digest of the training rows of each task, repeat and fold (see `allowed_rows`).
    """
    inner = settings.epoch_selection == "inner"
    for unit in units:
        n_rows, digest = allowed.get(place_of(unit), (0, ""))
        n_fitted = unit["n_rows"] - unit.get("n_copies", 0)
        scored = any(epoch["inner_score"] is not None for epoch in unit["epochs"])
        where = f"{name}, {unit['task']}-r{unit['repeat']}-f{unit['fold']}"
        again = "Run dvc repro --force --single-item for its stage"
        if unit["rows"] != digest:
            yield Leak(
                "trained on scored rows", unit["task"],
                f"{where}: must have trained on the rows outside its fold, got other rows. {again}",
            )  # fmt: skip
        elif n_fitted > n_rows - inner or scored != inner:
            yield Leak(
                "epoch chosen on scored rows", unit["task"],
                f"{where}: its epoch must be {'chosen on spared training rows' if inner else 'the last'}, got {n_fitted} "
                f"rows fitted of {n_rows} and epochs {'scored' if scored else 'not scored'}. {again}",
            )  # fmt: skip


def begun_at_other_folds(name: str, units: Units) -> Iterator[Leak]:
    """Yield the fold models whose encoder learnt another task first, of which a fold that it is scored on was learnt."""
    keys = {place_of(unit): unit["key"] for unit in units}
    for unit in units:
        task, repeat, fold = place_of(unit)
        if other := [
            first["task"] for first in unit.get("first", ()) if keys.get((first["task"], repeat, fold)) != first["key"]
        ]:
            yield Leak(
                "begun at another fold's encoder", task,
                f"{name}, {task}-r{repeat}-f{fold}: must begin at its fold's encoder of {other[0]}, got another one. Run "
                "dvc repro --force --single-item for its stage",
            )  # fmt: skip


def heads_over_other_folds(folder: Path, units: Units, models: Mapping[str, Mapping[Place, str]]) -> Iterator[Leak]:
    """Yield the folds of a stitched model, by its folder and records, whose heads stand over another fold's encoders.

    `models` holds the digest of each encoder's model of each task, repeat and fold.
    """
    for unit in units:
        path = folder / "models" / f"{unit['task']}-r{unit['repeat']}-f{unit['fold']}" / STITCHED
        used = json.loads(path.read_text(encoding="utf-8"))["encoders"]
        of_fold = [models[encoder].get(place_of(unit), "none") for encoder in unit["encoders"]]
        if used != of_fold:
            yield Leak(
                "heads over another fold's encoders", unit["task"],
                f"{path}: must stand over the encoders {[model[:12] for model in of_fold]} of its fold, got "
                f"{[model[:12] for model in used]}. Run dvc repro --force --single-item stitch",
            )  # fmt: skip


def _leaks_of_predictions(params: Params, table: Table, folds: Folds, task: str) -> Iterator[Leak]:
    stages = {name: params.stages[name] for name in params.members} | {ENSEMBLE: "stack"}
    paths = {name: predictions_path(stage, name, task) for name, stage in stages.items()}
    read = {name: read_predictions(path, manifest=None) for name, path in paths.items()}
    foreign = list(made_over_other_folds(read, folds))
    yield from foreign
    members = {name: read[name] for name in params.members}
    likeness = read_json(AUDIT)[task]["test_likeness"]
    alike = likeness["auc"] is not None and not likeness["shifted"]
    yield from surer_of_scored_rows(members, kind=table.kind(task), alike=alike)
    if not foreign:
        state = read_json(ensemble_path(task))
        gathered = gather_members(members, table=table, folds=folds, task=task)
        metric = params.tasks[task].metric.build(n_outputs=len(gathered.labels), decide=gathered.kind.decide)
        ladder = build_ladder(params.stack.ladder, metric=metric, seed=params.seed)
        if state["rung"] in ladder:  # a single member is its own ensemble
            yield from not_cross_fitted(gathered, read[ENSEMBLE], ladder, state)
