"""What the ensemble is made from: joined by row id, whatever the order of rows and labels, and nothing missing."""

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.predictions import Predictions
from pipeline.ensemble.members import gather_members
from pipeline.errors.exceptions import DataError
from tests.competition import DIGEST, competition


def test_members_are_joined_by_row_id_whatever_the_order_of_their_rows():
    table, folds, members = competition()
    plain = gather_members(members, table=table, folds=folds, task="news")
    model = members["model1"]
    order = np.random.default_rng(9).permutation(len(model.rows))
    rows = model.rows.iloc[order].reset_index(drop=True)
    members["model1"] = Predictions(
        "model1", "news", model.labels, rows, model.logits[order], model.manifest, model.recipe, model.seed
    )
    shuffled = gather_members(members, table=table, folds=folds, task="news")
    assert np.array_equal(shuffled.out_of_fold, plain.out_of_fold)
    # The test rows are means over folds and repeats, whose order of addition may move the last bit.
    assert shuffled.test_probabilities == pytest.approx(plain.test_probabilities, abs=1e-12)


def test_each_repeat_has_the_folds_of_its_manifest():
    table, folds, members = competition(n_repeats=3, holdout=10)
    joined = gather_members(members, table=table, folds=folds, task="news")
    manifest = folds.rows.set_index(["repeat", "row_id"])["fold"]
    for repeat, numbers in enumerate(joined.folds):
        assert manifest.loc[repeat].loc[joined.train.ids].tolist() == numbers.tolist()


def test_I10_members_with_another_order_of_labels_are_put_in_the_table_s_order():
    """Members may store labels in any order; they are joined by name, in the table's order."""
    table, folds, members = competition(labels=("a", "b", "c"))
    plain = gather_members(members, table=table, folds=folds, task="news")
    model = members["model0"]
    members["model0"] = Predictions(
        "model0", "news", ["c", "a", "b"], model.rows, model.logits[:, [2, 0, 1]], DIGEST, "", 0
    )
    turned = gather_members(members, table=table, folds=folds, task="news")
    assert turned.out_of_fold == pytest.approx(plain.out_of_fold)


def test_a_member_with_other_labels_is_refused():
    table, folds, members = competition()
    model = members["model0"]
    members["model0"] = Predictions("model0", "news", ["no", "maybe"], model.rows, model.logits, DIGEST, "", 0)
    with pytest.raises(DataError, match=r"model0, task news: must be of task news with the labels .*maybe"):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_member_that_predicted_a_row_in_another_fold_is_refused():
    table, folds, members = competition()
    rows = members["model2"].rows
    row = rows.index[rows["split"] == "oof"][0]
    rows.loc[row, "fold"] = (rows.loc[row, "fold"] + 1) % 4
    with pytest.raises(
        DataError, match=rf"1 out-of-fold rows are not in the fold .* first '{rows.loc[row, 'row_id']}'"
    ):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_member_that_lacks_a_row_is_refused():
    table, folds, members = competition()
    model = members["model0"]
    kept = (model.rows["row_id"] != "t7").to_numpy()
    members["model0"] = Predictions(
        "model0", "news", model.labels, model.rows[kept].reset_index(drop=True), model.logits[kept], DIGEST, "", 0
    )
    with pytest.raises(DataError, match="first 't7'"):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_label_outside_the_label_list_is_refused():
    table, folds, members = competition()
    table.rows.loc[5, "label"] = "perhaps"
    with pytest.raises(DataError, match=r"row 't5': label must be one of \['no', 'yes'\], got 'perhaps'"):
        gather_members(members, table=table, folds=folds, task="news")


def gathered(likeness=None, *, shifted=False, **options):
    table, folds, members = competition(**options)
    return gather_members(members, table=table, folds=folds, task="news", likeness=likeness, shifted=shifted)


def clusters_of(n_rows, n_test, together=()):
    """Return what is known of rows that are alone in their clusters, those apart that are named `together`."""
    ids = [f"t{n}" for n in range(n_rows)] + [f"s{n}" for n in range(n_test)]
    rows = pd.DataFrame({"row_id": ids, "split": ["train"] * n_rows + ["test"] * n_test, "cluster": range(len(ids))})
    for number, group in enumerate(together, start=len(ids)):
        rows.loc[rows["row_id"].isin(group), "cluster"] = number
    return rows.sample(frac=1, random_state=0).assign(task="news", log_odds=0.0)


def test_fold_models_of_sampled_test_rows_and_of_the_hold_out_have_the_means_that_are_submitted(monkeypatch):
    monkeypatch.setattr("pipeline.ensemble.members.N_SAMPLED", 15)
    members = gathered(holdout=12)
    assert members.sampled_by_fold.shape == (4, 15, 3, 2) and len(set(members.sampled)) == 15
    assert members.sampled_by_fold.mean(axis=0) == pytest.approx(members.test_probabilities[members.sampled])
    assert members.holdout_by_fold.mean(axis=0) == pytest.approx(members.holdout_probabilities)
    one, whole = members.candidate("model1"), members.only(["model1"])
    assert np.array_equal(one.out_of_fold, members.out_of_fold[:, :, 1].mean(axis=0))
    assert np.array_equal(one.by_fold, whole.sampled_by_fold[:, :, 0])
    assert np.array_equal(one.mean, whole.test_probabilities[whole.sampled, 0]) and whole.names == ["model1"]


def test_a_test_row_s_twin_is_a_training_row_of_its_cluster():
    together = [("s3", "t7"), ("s4", "s5"), ("s6", "t9", "t10"), ("s7", "t2")]
    members = gathered(clusters_of(240, 40, together), holdout=5)  # t0 to t4 are held out
    found = {f"s{place}": members.train.ids[twin] for place, twin in enumerate(members.twins) if twin >= 0}
    assert found.pop("s6") in ("t9", "t10") and found == {"s3": "t7"}
    assert gathered().twins.tolist() == [-1] * 40 and gathered(n_test=0).twins.shape == (0,)


@pytest.mark.parametrize(("labels", "agree"), [([1, 1, 1, 1], 3), ([1, 1, 0, 0], 2), ([1, 0, 1, 0], 0)])
def test_training_rows_that_say_the_same_tell_how_often_such_agree(labels, agree):
    # Before any pair is seen 9 of 10 are thought to agree. A cluster of four has three pairs of neighbours.
    rows = {label: iter(np.flatnonzero(gathered().train.labels == label)) for label in (0, 1)}
    group, last = [], -1
    for label in labels:
        last = next(row for row in rows[label] if row > last)
        group.append(f"t{last}")
    assert gathered(clusters_of(240, 40, [group])).agreement == pytest.approx((9 + agree) / (10 + 3))
    assert gathered().agreement == 0.9


def test_training_rows_stand_for_test_rows_of_another_kind_by_how_like_them_they_are():
    likeness = clusters_of(240, 40)
    likeness["log_odds"] = np.where(likeness["row_id"].isin(["t5", "t6"]), np.log(4.0), 0.0)
    assert gathered(likeness).weights is None
    weights = gathered(likeness, shifted=True).weights
    assert weights.mean() == pytest.approx(1) and (weights[[5, 6]] / weights[0]).tolist() == pytest.approx([4, 4])
