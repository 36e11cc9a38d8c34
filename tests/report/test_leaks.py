"""Planted leaks are found, each by its kind, and clean competitions have none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.copies import Copies, no_copies
from pipeline.artifacts.frames import read_frame, write_frame
from pipeline.artifacts.predictions import Predictions, read_predictions, write_predictions
from pipeline.artifacts.table import Folds, Reading, Table
from pipeline.base_models.baselines import tfidf_logistic
from pipeline.data.class_targets import ClassTargets
from pipeline.data.fold_jobs import fold_jobs, rows_digest, trained_rows_digest
from pipeline.data.likeness import measure_likeness
from pipeline.ensemble.members import gather_members
from pipeline.ensemble.stackers import logistic, mean
from pipeline.ensemble.stacking import build_ensemble, ensemble_predictions
from pipeline.errors.exceptions import DataError
from pipeline.params.encoders import Training
from pipeline.params.loading import load_params
from pipeline.report.leak_signs import Leak, label_in_order, surer_of_scored_rows
from pipeline.report.leaks import (
    allowed_rows,
    find_leaks,
    heads_over_other_folds,
    leaking_copies,
    refuse_leaks,
    straddling,
    trained_on_scored_rows,
)
from pipeline.report.leaks_of_predictions import made_over_other_folds, not_cross_fitted
from pipeline.report.leaks_of_texts import label_in_text, rows_near_other_folds
from tests.competition import SIMILARITY, competition, demo_competition, forest
from tests.conftest import Project
from tests.small import make_metric, make_table, table_and_folds

SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 20))]


def kinds(leaks: Any) -> set[str]:
    return {leak.kind for leak in leaks}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Folds, pd.DataFrame]:
    return demo_competition(tmp_path_factory.mktemp("clean"), seed=0)


def test_L2_a_clean_run_has_no_leak(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A competition that went through the whole graph has no leak, and its report names none."""
    monkeypatch.chdir(finished.folder)
    assert find_leaks(load_params()) == []
    assert "leak," not in (finished.folder / "out/report/report.html").read_text(encoding="utf-8").lower()


@pytest.mark.parametrize("seed", SEEDS)
def test_L2_clean_data_and_honest_members_raise_no_alarm(tmp_path: Path, seed: int) -> None:
    """Over 20 seeds of clean data, folds, copies, members and ensembles no leak is reported."""
    table, folds, clusters = demo_competition(tmp_path, seed=seed)
    leaks = [*straddling(table, folds, clusters), *rows_near_other_folds(table, folds)]
    leaks += [*label_in_text(table), *label_in_order(table, clusters)]
    honest = {"forest": forest(table, folds)}
    alike = not measure_likeness(table, clusters)[1]["intent"]["shifted"]
    leaks += [*made_over_other_folds(honest, folds), *surer_of_scored_rows(honest, kind=ClassTargets(), alike=alike)]
    rows, manifest, members = competition(seed=seed)
    leaks += surer_of_scored_rows(members, kind=ClassTargets(), alike=True)
    leaks += stacked(rows, manifest, members, tune=seed % 2 == 0)
    assert alike and leaks == []


def copies_of(table: Table, folds: Folds, texts: dict[str, str], *, fold_shift: int = 0) -> Copies:
    """Return a copy with the given text of each row, in the fold of its row or in another one."""
    plan = folds.select("intent", 0).set_index("row_id")
    rows = [
        {
            "copy_id": f"{row_id}~0", "row_id": row_id, "task": "intent", "repeat": 0, "text": text, "text_pair": None,
            "fold": (plan["fold"][row_id] + fold_shift) % 4,
        }
        for row_id, text in texts.items()
    ]  # fmt: skip
    return Copies(pd.DataFrame(rows), no_copies().barred, no_copies().unlabelled)


def of_two_folds(folds: Folds) -> tuple[str, str]:
    """Return the ids of two rows of different folds."""
    plan = folds.select("intent", 0)
    return plan.loc[plan["fold"] == 0, "row_id"].iloc[0], plan.loc[plan["fold"] == 1, "row_id"].iloc[0]


def with_text(table: Table, row_id: str, text: str) -> Table:
    rows = table.rows.copy()
    rows.loc[(rows["row_id"] == row_id) & (rows["split"] == "train"), "text"] = text
    return make_table(rows, table.labels)


def leaks_of(copies: Copies, table: Table, folds: Folds) -> list[Leak]:
    return list(leaking_copies(copies, table, folds, similarity=SIMILARITY))


def test_L2_L3_I11_a_copy_that_is_trained_on_where_its_row_is_scored_is_found(clean) -> None:
    """A copy that does not lie in the fold of its row is found by its parent's id."""
    table, folds, _ = clean
    row_id = of_two_folds(folds)[0]
    assert leaks_of(copies_of(table, folds, {row_id: "a new text"}), table, folds) == []
    assert kinds(leaks_of(copies_of(table, folds, {row_id: "a new text"}, fold_shift=1), table, folds)) == {
        "copies of scored rows"
    }


SCORED = "The display of the new tablet is a pleasure 今天 ABC 123 发展"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SCORED, "copies equal to scored rows"),
        (SCORED.upper(), "copies equal to scored rows"),
        (SCORED.replace("ABC 123", "ＡＢＣ　１２３"), "copies equal to scored rows"),
        (SCORED.replace("发展", "發展"), "copies equal to scored rows"),
        (SCORED + "!", "copies nearly equal to scored rows"),
    ],
    ids=["same", "case", "width", "script", "near"],
)
def test_L2_L3_I11_a_copy_that_says_what_a_scored_row_says_is_found(clean, text: str, kind: str) -> None:
    """A copy whose text equals a scored row's, but for case, width, blanks or script, or nearly equals it, is found."""
    table, folds, _ = clean
    parent, scored = of_two_folds(folds)
    table = with_text(table, scored, SCORED)
    copies = copies_of(table, folds, {parent: text})
    leaks = leaks_of(copies, table, folds)
    assert kinds(leaks) == {kind} and leaks[0].certain == (kind == "copies equal to scored rows")
    bar = {"copy_id": f"{parent}~0", "task": "intent", "repeat": 0, "fold": 1, "reason": "like it"}
    assert leaks_of(replace(copies, barred=pd.DataFrame([bar])), table, folds) == []


def test_L2_rows_that_belong_together_in_two_folds_are_found(clean) -> None:
    """Rows of a group, near-duplicates, and texts equal but for script that lie in two folds are found."""
    table, folds, clusters = clean
    row, other = of_two_folds(folds)
    grouped = table.rows.assign(group=np.where(table.rows["row_id"].isin([row, other]), "author 1", None))
    assert kinds(straddling(make_table(grouped, table.labels), folds, clusters)) == {
        "rows straddle folds: of one group"
    }
    near = clusters.copy()
    near.loc[near["row_id"].isin([row, other]), "cluster"] = 10**6
    assert kinds(straddling(table, folds, near)) == {"rows straddle folds: near-duplicates"}
    twins = with_text(with_text(table, row, "Ｇood 头发"), other, "good 頭髮")
    assert kinds(straddling(twins, folds, clusters)) == {
        "rows straddle folds: equal but for case, width, blanks or script"
    }


def test_L2_L4_predictions_of_another_manifest_or_another_fold_are_found(clean) -> None:
    """Predictions made from another fold manifest, or by another fold's model, are found by digest and fold number."""
    table, folds, _ = clean
    honest = forest(table, folds)
    other = replace(honest, manifest="e" * 64)
    assert kinds(made_over_other_folds({"one": honest, "other": other}, folds)) == {
        "predictions of another fold manifest"
    }
    rows = honest.rows.assign(fold=np.where(honest.rows["split"] == "oof", (honest.rows["fold"] + 1) % 4, 0))
    assert kinds(made_over_other_folds({"one": replace(honest, rows=rows)}, folds)) == {"rows scored in another fold"}


@pytest.mark.parametrize("selection", ["last", "inner"])
@pytest.mark.parametrize(
    ("leak", "kind"),
    [
        (None, None),
        ("rows", "trained on scored rows"),
        ("more rows", "epoch chosen on scored rows"),
        ("scored", "epoch chosen on scored rows"),
    ],
)
def test_L2_L5_a_model_that_has_seen_its_scored_rows_is_found(clean, selection: Any, leak: Any, kind: Any) -> None:
    """A fold model trained on other rows than its fold's, or whose epoch was chosen on none of them, is found."""
    table, folds, _ = clean
    inner = selection == "inner"
    jobs = fold_jobs(table, folds, seed=0)
    fitted = {(job.task, job.repeat, job.fold): job.fitted for job in jobs}
    units = []
    for (task, repeat, fold), rows in fitted.items():
        unit = {"task": task, "repeat": repeat, "fold": fold, "n_copies": 5, "n_rows": len(rows) + 5 - 10 * inner}
        unit["rows"] = "another" if leak == "rows" else rows_digest(rows if inner else rows.drop(columns="cluster"))
        unit["n_rows"] += 20 * (leak == "more rows")
        unit["epochs"] = [{"loss": 1.0, "inner_score": 0.5 if inner != (leak == "scored") else None}]
        units.append(unit)
    settings = Training(epoch_selection=selection)
    allowed = allowed_rows(fitted, selection)
    assert kinds(trained_on_scored_rows("bert", units, allowed, settings)) == ({kind} if kind else set())
    assert kinds(trained_on_scored_rows("bert", units, {}, settings)) == {"trained on scored rows"}


def test_L2_L4_heads_over_another_folds_encoders_are_found(tmp_path: Path) -> None:
    """A stitched model of one fold that stands over the encoders of another is found by their digests."""
    units = [{"task": "intent", "repeat": 0, "fold": fold, "encoders": ["one", "other"]} for fold in range(2)]
    models = {name: {("intent", 0, fold): f"{name}{fold}" for fold in range(2)} for name in ("one", "other")}
    for fold, of_other in ((0, 0), (1, 0)):
        folder = tmp_path / "models" / f"intent-r0-f{fold}"
        folder.mkdir(parents=True)
        (folder / "stitch.json").write_text(json.dumps({"encoders": [f"one{fold}", f"other{of_other}"]}))
    leaks = list(heads_over_other_folds(tmp_path, units, models))
    assert kinds(leaks) == {"heads over another fold's encoders"} and len(leaks) == 1 and "r0-f1" in leaks[0].text


def test_L2_test_rows_of_another_kind_are_no_leak_of_any_member() -> None:
    """Where test rows are harder for every member alike, no member is accused."""
    _, _, members = competition(signals=(3.0, 3.0, 3.0))
    harder = {
        name: replace(
            predictions,
            logits=np.where((predictions.rows["split"] == "test").to_numpy()[:, None], 0.2, 1) * predictions.logits,
        )
        for name, predictions in members.items()
    }
    assert list(surer_of_scored_rows(harder, kind=ClassTargets(), alike=False)) == []
    assert list(surer_of_scored_rows({"model0": harder["model0"]}, kind=ClassTargets(), alike=False)) != []


def stacked(
    table: Table, folds: Folds, members: dict[str, Predictions], *, build: Any = logistic.build, tune: bool = False,
    tampered: Any = None,
) -> Any:  # fmt: skip
    """Return the leaks of an ensemble whose out-of-fold predictions (R, N, C) are what `tampered` makes of the ensemble's."""
    gathered = gather_members(members, table=table, folds=folds, task="news")
    ladder = {"mean": mean.build, "rung": build}
    options: Any = {"metric": make_metric("f1_macro", 2), "tune_above": 0.0 if tune else None, "seed": 0}
    ensemble = build_ensemble(gathered, ladder=ladder if build is logistic.build else {"rung": build}, **options)
    if tampered is not None:
        ensemble = replace(ensemble, out_of_fold=tampered(ensemble, gathered))
    final = ensemble_predictions(gathered, ensemble, manifest=folds.digest, seed=0)
    return list(not_cross_fitted(gathered, final, ladder, ensemble.state(gathered)))


def in_sample(ensemble: Any, gathered: Any) -> np.ndarray:
    """Return what the mean of all stackers says of these rows, which all but one of them were fitted on."""
    return np.stack([ensemble.predict("rung", inputs) for inputs in gathered.out_of_fold])


def test_L2_L4_a_stacker_scored_on_the_rows_it_was_fitted_on_is_found() -> None:
    """An ensemble whose out-of-fold predictions come from stackers fitted on the same rows is found; a mean may be both."""
    leaks = stacked(*competition(signals=(2.5, 0.5, 0.2)), tampered=in_sample)
    assert kinds(leaks) == {"stacker scored in-sample"} and leaks[0].certain
    assert stacked(*competition(), tampered=in_sample, build=mean.build) == []


@pytest.mark.parametrize("repeat", [0, 1])
def test_L2_L4_out_of_fold_predictions_that_no_cross_fit_gives_are_found(repeat: int) -> None:
    """An ensemble whose out-of-fold predictions are not those of a cross-fit, be it in the last repeat alone, is found."""

    def tampered(ensemble: Any, gathered: Any) -> np.ndarray:
        mixed = ensemble.out_of_fold.copy()
        mixed[repeat] = (mixed[repeat] + np.eye(2)[gathered.train.labels]) / 2
        return mixed

    leaks = stacked(*competition(), tampered=tampered)
    assert kinds(leaks) == {"ensemble not cross-fitted"} and f"repeat {repeat}, fold 0" in leaks[0].text


@pytest.mark.parametrize("mark", [" label={}", " #{}", "[{}] "], ids=["assigned", "hashtag", "front"])
def test_L2_a_label_written_in_the_text_is_found(clean, mark: str) -> None:
    """Texts in which a word gives the label away are found."""
    table, _, _ = clean
    assert list(label_in_text(table)) == []
    rows = table.rows.copy()
    train = rows["split"] == "train"
    rows.loc[train, "text"] = [
        text + mark.format(label) for text, label in zip(rows["text"][train], rows["label"][train], strict=True)
    ]
    assert kinds(label_in_text(make_table(rows, table.labels))) == {"label written in the text"}


@pytest.mark.parametrize("where", ["order", "front of the id", "end of the id"])
def test_L2_a_label_told_by_the_order_or_the_id_is_found(clean, where: str) -> None:
    """Rows sorted by label, and ids that carry the label in front or at their end, are found."""
    table, _, clusters = clean
    rows = table.select("intent", "train")
    if where == "order":
        rows = rows.sort_values("label")
    else:
        codes = rows["label"].map(table.labels["intent"].index).astype(str)
        clusters = clusters[clusters["split"] == "train"].assign(
            row_id=_marked(rows["row_id"], codes, where).to_numpy()
        )
        rows = rows.assign(row_id=_marked(rows["row_id"], codes, where))
    assert kinds(label_in_order(make_table(rows, table.labels), clusters)) == {"label told by order or id"}


def _marked(ids: "pd.Series[str]", codes: "pd.Series[str]", where: str) -> "pd.Series[str]":
    return codes + "-" + ids if where == "front of the id" else ids + codes


def test_L2_a_certain_leak_is_refused_with_its_code() -> None:
    """A leak that ids or digests prove ends the report stage with E311; a sign of one is only reported."""
    sign = Leak("label written in the text", "news", "task news: a word.", certain=False)
    refuse_leaks([sign])
    proof = Leak("copies of scored rows", "news", "copies.parquet: must not, got 1. Run it again.")
    with pytest.raises(DataError, match=r"must not, got 1.*1 leaks in all") as caught:
        refuse_leaks([sign, proof])
    assert caught.value.code == "E311"


def test_I19_a_prediction_that_is_not_finite_reaches_no_stacker(clean, tmp_path: Path) -> None:
    """A prediction table into which a value that is not finite was put is refused by whoever reads it."""
    table, folds, _ = clean
    path = tmp_path / "out" / "baseline" / "forest" / "intent.parquet"
    write_predictions(forest(table, folds), path)
    frame, metadata, _ = read_frame(path)
    frame.iloc[3, -1] = np.nan
    write_frame(path, frame, metadata)
    with pytest.raises(DataError, match="must be finite, got 1 rows"):
        read_predictions(path, manifest=folds.digest)


def test_L7_nothing_is_fitted_on_the_rows_that_are_scored(clean) -> None:
    """Vocabulary, weights of words and coefficients of a baseline stay the same whatever the scored rows say."""
    table, folds, _ = clean
    ids = folds.select("intent", 0).query("fold == 0")["row_id"]
    scored = table.rows["row_id"].isin(ids) & (table.rows["split"] == "train")
    label = table.labels["intent"][0]
    changed = make_table(
        table.rows.assign(
            text=table.rows["text"].where(~scored, "quite another text"),
            label=table.rows["label"].where(~scored, label),
        ),
        table.labels,
    )
    results = []
    for source in (table, changed):
        job = fold_jobs(source, folds, seed=0)[0]
        model = tfidf_logistic.build(n_outputs=len(source.labels["intent"]), seed=0)
        model.fit(job.fitted, job.fitted["label"].to_numpy(np.int64))
        results.append(model.predict(job.predicted[job.predicted["split"] == "test"]))
    np.testing.assert_array_equal(*results)


def test_rows_learnt_in_both_orders_are_no_leak() -> None:
    table, folds = table_and_folds()
    table = replace(table, rows=table.rows.assign(text_pair="a second text"), reading={"weather": Reading(swap=True)})
    jobs = fold_jobs(table, folds, seed=0)
    allowed = allowed_rows({(job.task, job.repeat, job.fold): job.to_fit for job in jobs}, "last")
    assert {n_rows for n_rows, _ in allowed.values()} == {32}
    assert {digest for _, digest in allowed.values()} == {trained_rows_digest(job, Training()) for job in jobs}
