"""Folds are a partition with whole clusters and all classes, whatever the order of the rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.table import FOLDS_COLUMNS, HOLDOUT_FOLD, TABLE_COLUMNS, TRAIN_FOLD, Table
from pipeline.artifacts.table import Folds as Manifest
from pipeline.data import splitting
from pipeline.data.fold_jobs import fold_jobs
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.errors.exceptions import ParamsError
from pipeline.params.tasks import Folds
from tests.conftest import Project
from tests.small import make_table

WORDS = ["rain", "fire", "storm", "quiet", "market", "train", "music", "river", "garden", "winter", "signal", "bread"]


def _table(n_rows: int, *, n_classes: int = 3, seed: int = 0, duplicate_ratio: float = 0.3) -> Table:
    """Return distinct texts and planted copies: some equal, some with one word more."""
    generator = np.random.default_rng(seed)
    texts: list[str] = []
    for i in range(n_rows):
        text = " ".join(generator.choice(WORDS, 14)) + f" {i}"
        if texts and generator.random() < duplicate_ratio:
            text = texts[int(generator.integers(len(texts)))] + generator.choice(["", " ok"])
        texts.append(text)
    labels = [f"class{c}" for c in range(n_classes)]
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(n_rows)], "task": "t", "split": "train", "text": texts})
    rows["label"] = generator.choice(labels, n_rows, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
    return make_table(rows.assign(text_pair=None, group=None)[TABLE_COLUMNS].astype("str"), {"t": labels})


def _plan(table: Table, *, seed: int = 1, similarity: float | None = 0.8, **options: object) -> pd.DataFrame:
    folds = Folds(near_duplicate_similarity=similarity, **options)
    return assign_folds(table, cluster_rows(table, similarity=similarity), folds=folds, seed=seed)


def _labelled(plan: pd.DataFrame, table: Table) -> pd.DataFrame:
    return plan.merge(table.rows[["task", "row_id", "label", "text"]], on=["task", "row_id"], validate="many_to_one")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(30, 120),
    st.integers(2, 4),
    st.integers(2, 5),
    st.integers(1, 2),
    st.sampled_from([0.0, 0.15]),
    st.integers(0, 10**6),
)
def test_H3_a_plan_is_a_partition_with_whole_clusters_and_all_classes(
    n_rows: int, n_classes: int, n_splits: int, n_repeats: int, holdout_ratio: float, seed: int
) -> None:
    """Folds are a partition of the rows with whole groups, and every training part has every class."""
    table = _table(n_rows, n_classes=n_classes, seed=seed)
    try:
        plan = _plan(table, seed=seed, n_splits=n_splits, n_repeats=n_repeats, holdout_ratio=holdout_ratio)
    except ParamsError as error:
        assume("rarest class" not in str(error))
        raise
    assert list(plan) == FOLDS_COLUMNS
    for _, repeat in _labelled(plan, table).groupby("repeat"):
        assert sorted(repeat["row_id"]) == sorted(table.rows["row_id"])
        assert set(repeat["fold"]) - {HOLDOUT_FOLD, TRAIN_FOLD} == set(range(n_splits))
        assert (repeat.groupby("cluster")["fold"].nunique() == 1).all()
        assert (repeat.groupby("text")["cluster"].nunique() == 1).all()
        kept = repeat[repeat["fold"] != HOLDOUT_FOLD]
        for fold in range(n_splits):
            assert set(kept.loc[kept["fold"] != fold, "label"]) == set(kept["label"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.2]))
def test_H3_permuting_rows_permutes_the_plan(seed: int, stratify: bool, holdout_ratio: float) -> None:
    """The order of the rows in the file never moves a row to another fold."""
    table = _table(80, seed=3)
    shuffled = make_table(table.rows.sample(frac=1, random_state=seed % 2**32, ignore_index=True), table.labels)
    first, second = (_plan(t, stratify=stratify, holdout_ratio=holdout_ratio, n_splits=3) for t in (table, shuffled))
    pd.testing.assert_frame_equal(first, second)


def _straddling(plan: pd.DataFrame, table: Table) -> int:
    """Count planted texts whose copies (with ` ok` or without) stand in several folds."""
    rows = _labelled(plan, table)
    return int((rows.groupby(rows["text"].str.replace(" ok", ""))["fold"].nunique() > 1).sum())


def test_D5_planted_duplicates_never_straddle_folds() -> None:
    """Rows with equal or nearly equal texts share a fold."""
    table = _table(300, seed=5)
    assert _straddling(_plan(table), table) == 0


def test_the_leak_test_notices_when_clustering_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    table = _table(300, seed=5)
    assert _straddling(_plan(table, similarity=None), table) > 5
    monkeypatch.setattr(splitting, "related_rows", lambda rows, near, *, group_pairs: np.arange(len(rows)))
    assert _straddling(_plan(table), table) > 20


def test_rows_of_a_group_share_a_fold_and_link_their_duplicates() -> None:
    table = _table(200, seed=6, duplicate_ratio=0.1)
    table.rows["group"] = pd.Series([f"g{i % 40}" if i % 3 else None for i in range(200)], dtype="str")
    plan = _plan(table).merge(table.rows[["row_id", "group"]], on="row_id")
    assert (plan.dropna(subset="group").groupby("group")["fold"].nunique() == 1).all()
    assert plan.loc[plan["group"].isna(), "cluster"].nunique() > 30


@pytest.mark.parametrize("group_pairs", [True, False])
def test_pairs_that_share_a_sentence_share_a_fold_when_asked(group_pairs: bool) -> None:
    table = _table(120, seed=7, duplicate_ratio=0)
    texts = table.rows["text"]
    # Row i's second sentence is row i+1's first, in chains of three; some second sentences are empty.
    pairs = [texts[i + 1].upper() + " " if i % 3 < 2 else "" for i in range(len(texts))]
    table.rows["text_pair"] = pd.Series(pairs, dtype="str")
    fold = _plan(table, group_pairs=group_pairs).set_index("row_id").loc[table.rows["row_id"], "fold"].to_numpy()
    whole = (fold.reshape(-1, 3) == fold[::3, None]).all()
    assert whole == group_pairs
    assert len(set(fold)) == 5


def _chained(n_rows: int, *, hub_every: int | None) -> Table:
    """Return pairs in which each second sentence is the next row's first, or every so many rows share one."""
    table = _table(n_rows, n_classes=2, seed=7, duplicate_ratio=0)
    texts = table.rows["text"]
    if hub_every is None:
        pairs = [*texts[1:], texts[0]]
    else:
        pairs = ["The usual answer" if i % hub_every == 0 else f"{text} again" for i, text in enumerate(texts)]
    table.rows["text_pair"] = pd.Series(pairs, dtype="str")
    return table


def test_D5_P5_pairs_that_are_all_chained_name_the_sentences_and_ways_out(caplog: pytest.LogCaptureFixture) -> None:
    """Where `group_pairs` chains all rows the error names the sentences that do it, and settings under which folds exist."""
    hub = _chained(60, hub_every=1)
    with pytest.raises(
        ParamsError,
        match=r"t \(1\), got 5\. 60 of 60 rows hang together, by what they share: sentence 'The usual answer' \(60 rows\)",
    ) as caught:
        _plan(hub, group_pairs=True)
    assert "Set folds.group_pairs: 59 (" in str(caught.value)
    assert "folds.group_pairs: false with tasks.t.columns.group: <the column of the first sentence>" in str(
        caught.value
    )
    chain = _chained(60, hub_every=None)
    with pytest.raises(ParamsError, match=r"60 of 60 rows hang together, .*sentence '.*' \(2 rows\), sentence"):
        _plan(chain, group_pairs=True)
    chain.rows["group"] = chain.rows["text"]
    assert _plan(chain)["cluster"].nunique() == 60
    assert "hang together" not in caplog.text


def test_D5_a_sentence_of_most_pairs_makes_uneven_folds_known_and_a_number_mends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cluster far larger than a fold is warned of, with the number as `group_pairs` under which folds are even."""
    table = _chained(120, hub_every=2)
    table.rows.loc[1:19:2, "text_pair"] = "Another answer"
    _plan(table, group_pairs=True)
    assert "60 of 120 rows hang together, by what they share: sentence 'The usual answer' (60 rows)" in caplog.text
    assert "Set folds.group_pairs: 59 (sentences that stand more often then link nothing)" in caplog.text
    caplog.clear()
    plan = _plan(table, group_pairs=59).merge(table.rows[["row_id", "text_pair"]], on="row_id", validate="one_to_one")
    assert plan[plan["text_pair"] == "Another answer"]["fold"].nunique() == 1
    assert plan[plan["text_pair"] == "The usual answer"]["fold"].nunique() == 5
    assert "hang together" not in caplog.text


@pytest.mark.parametrize("tie", ["group", "near-duplicate"])
def test_D5_other_ties_of_most_rows_are_named_too(tie: str, caplog: pytest.LogCaptureFixture) -> None:
    """A group, or near-duplicates, of most rows are named as what makes folds uneven, with the key to look at."""
    table = _table(100, n_classes=2, duplicate_ratio=0)
    if tie == "group":
        table.rows.loc[:59, "group"] = "one author"
    else:
        table.rows.loc[:59, "text"] = "the very same text"
    _plan(table)
    key = {"group": "tasks.t.columns.group", "near-duplicate": "folds.near_duplicate_similarity"}[tie]
    assert f"60 of 100 rows hang together, by what they share: {tie} '" in caplog.text and key in caplog.text


def test_folds_are_balanced_by_class_also_beside_large_clusters() -> None:
    table = _table(1500, seed=8, duplicate_ratio=0.0)
    table.rows["group"] = pd.Series(["big" if i < 120 else None for i in range(1500)], dtype="str")
    plan = _labelled(_plan(table, n_splits=4), table)
    counts = pd.crosstab(plan["fold"], plan["label"])
    assert (counts.max() - counts.min()).max() <= 1


def test_the_holdout_is_stratified_and_the_same_in_every_repeat() -> None:
    table = _table(600, seed=9)
    plan = _labelled(_plan(table, n_repeats=3, holdout_ratio=0.2), table)
    held = plan[plan["fold"] == HOLDOUT_FOLD]
    per_repeat = [frozenset(rows["row_id"]) for _, rows in held.groupby("repeat")]
    assert len(per_repeat) == 3 and len(set(per_repeat)) == 1
    share = held["label"].value_counts() / plan["label"].value_counts()
    assert share.between(0.18, 0.22).all()
    assert not set(held["cluster"]) & set(plan.loc[plan["fold"] != HOLDOUT_FOLD, "cluster"])


def test_repeats_and_seeds_give_other_plans_and_the_same_seed_the_same() -> None:
    table = _table(200)
    plan = _plan(table, n_repeats=2)
    first, second = (plan.loc[plan["repeat"] == r, "fold"].to_numpy() for r in (0, 1))
    assert (first != second).mean() > 0.5
    assert (_plan(table, seed=2)["fold"].to_numpy() != first).mean() > 0.5
    pd.testing.assert_frame_equal(_plan(table, n_repeats=2), plan)


def test_tasks_are_split_apart() -> None:
    first, second = _table(100, seed=1), _table(60, seed=2, n_classes=2)
    rows = pd.concat([first.rows, second.rows.assign(task="u")], ignore_index=True)
    plan = _plan(make_table(rows, {"t": first.labels["t"], "u": second.labels["t"]}), n_splits=3)
    alone = _plan(first, n_splits=3)
    pd.testing.assert_frame_equal(plan[plan["task"] == "t"].reset_index(drop=True), alone)
    assert (plan["task"] == "u").sum() == 60


def test_P5_too_many_folds_for_the_rarest_class_are_refused_by_name() -> None:
    """More folds than the rarest class has clusters of related rows are refused, with the class and the number."""
    table = _table(60, duplicate_ratio=0)
    table.rows["label"] = pd.Series(["class0"] * 4 + ["class1"] * 28 + ["class2"] * 28, dtype="str")
    table.rows.loc[:1, "text"] = "the very same text"  # two rows, one cluster
    message = (
        r"folds\.n_splits: must be at most the rarest class's number of clusters \(3, class 'class0' of task t\), got 5"
    )
    with pytest.raises(ParamsError, match=message):
        _plan(table)


@pytest.mark.parametrize("stratify", [True, False])
def test_fewer_clusters_than_folds_are_refused(stratify: bool) -> None:
    table = _table(60)
    table.rows["group"] = pd.Series([f"g{i % 4}" for i in range(60)], dtype="str")
    with pytest.raises(ParamsError, match=r"must be at most the number of clusters of task t \(\d\), got 5"):
        _plan(table, stratify=stratify)


def _with_lone_classes() -> Table:
    """Return a table with a class of one row, and one whose three rows all have the text of a row of another class."""
    table = _table(90, duplicate_ratio=0)
    table.labels["t"] += ["once", "copied"]
    table.rows.loc[0, "label"] = "once"
    table.rows.loc[1:3, "label"] = "copied"
    table.rows.loc[1:4, "text"] = "the very same text"
    return table


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("holdout_ratio", [0.0, 0.2])
def test_D15_the_only_row_of_a_class_is_trained_on_in_every_fold(
    stratify: bool, holdout_ratio: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A class with a single row (or one cluster of equal rows) is trained on by every fold, never scored, and reported."""
    table = _with_lone_classes()
    plan = _plan(table, n_splits=4, n_repeats=2, stratify=stratify, holdout_ratio=holdout_ratio)
    lone = [f"r{i}" for i in range(5)]  # with them the fourth row of the text, of another class
    assert set(plan.loc[plan["fold"] == TRAIN_FOLD, "row_id"]) == set(lone)
    jobs = fold_jobs(table, Manifest(plan, "f" * 64), seed=0)
    assert len(jobs) == 8
    for job in jobs:
        assert set(lone) <= set(job.fitted_ids) and not set(lone) & set(job.predicted["row_id"])
    assert "5 rows are trained on in every fold and never scored" in caplog.text
    assert "'once', 'copied'" in caplog.text


def test_D15_one_class_that_can_be_scored_is_too_few() -> None:
    """A task of which only one class could be both trained on and scored is refused."""
    table = _table(60, n_classes=2)
    table.rows["group"] = (table.rows["label"] == "class0").map({True: "all", False: None}).astype("str")
    with pytest.raises(ParamsError, match=r"rarest class's number of clusters \(1, class 'class0' of task t\)"):
        _plan(table, stratify=False)


@pytest.mark.slow
def test_D15_a_class_of_one_row_goes_through_the_whole_graph(finished: Project, tmp_path: Path) -> None:
    """A class of one row keeps its place in every prediction, and the submission is valid."""
    project = finished.clone(tmp_path / "project")
    train = project.folder / "data" / "tiny" / "train.csv"
    header, first, *others = train.read_text(encoding="utf-8").splitlines()
    train.write_text("\n".join([header, f"{first.rsplit(',', 1)[0]},once", *others]) + "\n", encoding="utf-8")
    project.repro()
    assert project.run("stitchfold", "validate").returncode == 0
    made = pq.read_table(project.folder / "out" / "stack" / "ensemble" / "intent.parquet").to_pandas()
    assert "logit:once" in made and len(made[made["split"] == "oof"]) == 99


@pytest.mark.parametrize("ratio", [0.0, 0.2])
def test_a_text_that_stands_in_two_tasks_shares_its_fold_in_both(ratio: float) -> None:
    """What a model of two tasks learns in one it must not be scored on in the other; classes keep their shares."""
    texts = [f"text number {number} of {number * 7919 % 1000}" for number in range(120)]
    first = pd.DataFrame({"text": texts[:80], "label": ["a", "b"] * 40}).assign(task="one")
    second = pd.DataFrame({"text": texts[40:], "label": ["x", "y", "y", "y"] * 20}).assign(task="two")
    both = pd.concat([first, second], ignore_index=True).assign(split="train", text_pair=None, group=None)
    both["row_id"] = [f"{number:03d}" for number in range(len(both))]
    table = make_table(both[TABLE_COLUMNS].astype("str"), {"one": ["a", "b"], "two": ["x", "y"]})
    folds = Folds(n_splits=4, n_repeats=2, near_duplicate_similarity=None, holdout_ratio=ratio)
    plan = assign_folds(table, cluster_rows(table, similarity=None), folds=folds, seed=3)
    named = plan.merge(both[["row_id", "text", "label"]], on="row_id")
    assert (named.groupby(["text", "repeat"])["fold"].nunique() == 1).all()
    scored = named[named["fold"] >= 0]
    counts = scored.groupby(["task", "repeat", "label", "fold"]).size()
    assert counts.groupby(["task", "repeat", "label"]).agg(lambda sizes: sizes.max() - sizes.min()).max() <= 3
