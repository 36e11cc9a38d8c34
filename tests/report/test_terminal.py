"""The scores on a terminal: aligned whatever the names, with what stitched models gain."""

from typing import Any

from pipeline.report.terminal import scores_text
from tests.report.test_reporting import model, task_audit, task_scores


def with_pairs() -> dict[str, Any]:
    """Return one task's scores with three stitched models."""
    scores = task_scores()
    names = {"bert+electra+cnn": 0.71, "roberta-large+electra+lstm": 0.74, "bert+roberta-large+cnn": 0.72}
    scores["models"][2:2] = [model(name, "stitched", score) for name, score in names.items()]
    gain = {"value": 0.011, "low": -0.002, "high": 0.024}
    return {**scores, "stitching": {"difference": {"test": gain, "holdout": None}}}


def test_columns_are_as_wide_as_their_longest_name() -> None:
    lines = scores_text("main", with_pairs()).splitlines()[1:7]
    assert len({line.index(" 0.") for line in lines}) == len({line.index("[") for line in lines}) == 1


def test_stitched_models_stand_best_first_between_the_others() -> None:
    names = [line.split()[1] for line in scores_text("main", with_pairs()).splitlines()[1:7]]
    assert names == [
        "tfidf", "roberta", "roberta-large+electra+lstm", "bert+roberta-large+cnn", "bert+electra+cnn", "mean",
    ]  # fmt: skip


def test_the_gain_by_stitched_models_is_shown_for_each_split_there_is() -> None:
    scores = with_pairs()
    text = scores_text("main", scores)
    assert (
        "gain by stitched models, expected on the test rows: +0.0110 [−0.0020, +0.0240]" in text
        and "hold-out" not in text
    )
    scores["stitching"]["difference"]["holdout"] = {"value": 0.01, "low": None, "high": None}
    assert "gain by stitched models, on the hold-out: +0.0100 [–, –]" in scores_text("main", scores)


def test_the_gain_over_the_best_single_model_is_shown_where_there_is_one() -> None:
    scores = task_scores()
    said = "  gain over the best single model, expected on the test rows: +0.0095 [+0.0055, +0.0135]"
    assert said in scores_text("main", scores).splitlines()
    assert "gain" not in scores_text("main", {**scores, "gain": None})


def test_without_stitched_models_nothing_is_said_of_them() -> None:
    text = scores_text("main", task_scores())
    assert "stitched" not in text and "estimate of the ensemble (mean, decision tuned; chosen anew" in text
    assert text.endswith("expected on the test rows, where 3 fold models are averaged: 0.7400 [0.6911, 0.7889]")


def test_what_speaks_against_the_interval_stands_below_it() -> None:
    assert scores_text("main", task_scores(), task_audit()) == scores_text("main", task_scores())
    twins = {"test_ids_in_train": 0, "test_texts_in_train": 2, "test_near_duplicates_in_train": 30}
    text = scores_text("main", task_scores(), {**task_audit(), "overlap": twins})
    assert text.splitlines()[-1] == ("  caution: 30 test rows (25.0 %) nearly equal a training row, 2 of them exactly.")
