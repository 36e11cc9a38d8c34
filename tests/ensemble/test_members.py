"""What the ensemble is made from: joined by row id, whatever the order of rows and labels, and nothing missing."""

import numpy as np
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
