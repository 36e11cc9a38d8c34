"""What stitched models add: equal to two ensembles built by hand, zero for a copy, sure for a strong member, honest."""

import json
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.histories import read_parents
from pipeline.artifacts.paths import OUT, SCORES, predictions_path
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.artifacts.table import read_folds, write_folds, write_table
from pipeline.ensemble.averaging import gain_on_test
from pipeline.ensemble.contributions import cross_fitted, describe_stitching, leave_out_rung
from pipeline.ensemble.decisions import cross_fit, own_folds
from pipeline.ensemble.intervals import compare
from pipeline.ensemble.members import Members, Rows
from pipeline.ensemble.stacking import build_ensemble
from pipeline.reproducibility import derive_seed
from stages.stack import main
from tests.competition import competition, write_alike
from tests.ensembles import settings, simulate
from tests.small import make_metric

PAIR, OTHER = "a+b+cnn", "a+b+lstm"


def members_of(strengths, **options):
    return simulate(strengths, **options)[0]


def described(members, parents, options, everyone=None):
    ensemble = build_ensemble(members, **options)
    return describe_stitching(
        members, ensemble, parents=parents, everyone=everyone or members, n_bootstrap=200,
        metric_name="log_loss" if options["metric"].sign < 0 else "accuracy", **options,
    )  # fmt: skip


@pytest.mark.parametrize("holdout", [0, 80])
def test_with_against_without_is_the_whole_procedure_on_both_sets(holdout):
    members = members_of({"a": 1.0, "b": 0.8, PAIR: 1.3}, holdout=holdout, n_repeats=2, n_test=100)
    options = settings("mean", "logistic", tune_above=1.0)
    stitching = described(members, {PAIR: ["a", "b"]}, options)
    rest = members.only(["a", "b"])
    both = [(each, build_ensemble(each, **options)) for each in (members, rest)]
    scored = {"test": (members.train, [blend.out_of_fold.mean(axis=0) for _, blend in both])}
    scored |= {"holdout": (members.holdout, [blend.holdout for _, blend in both])} if holdout else {}
    gained = [gain_on_test(blend.submitted(each), each, metric=options["metric"]).value for each, blend in both]
    for split, (rows, values) in scored.items():
        compared = compare(
            rows.labels, dict(enumerate(values)), metric=options["metric"], clusters=rows.clusters, n_resamples=200,
            seed=derive_seed(0, "t"), on_test=dict(enumerate(gained)) if split == "test" else None,
        )  # fmt: skip
        key = {"test": "oof"}.get(split, split)
        assert [stitching[side][key] for side in ("with_pairs", "without_pairs")] == [*map(compared.score, (0, 1))]
        assert stitching["difference"][split] == asdict(compared.gain(0, 1))
    if not holdout:
        assert stitching["difference"]["holdout"] is stitching["with_pairs"]["holdout"] is None
    assert (stitching["with_pairs"]["n_models"], stitching["without_pairs"]["n_models"]) == (3, 2)
    assert stitching["without_pairs"]["chosen"] == both[1][1].chosen


@pytest.mark.parametrize("rung", ["greedy", "logistic"])
def test_a_copy_adds_nothing_and_a_strong_member_adds_surely(rung):
    copy, strong = OTHER, PAIR
    members = members_of({"a": 1.0, "b": 0.8, strong: 2.5}, copies={copy: "a"}, n_rows=4000)
    models = {
        record["name"]: record
        for record in described(members, {strong: ["a", "b"], copy: ["a", "b"]}, settings(rung))["models"]
    }
    assert models[strong]["adds"]["low"] > 0.05
    # Greedy takes the first of equals; logistic's penalty shrinks two copies less than one, the more the fewer rows.
    assert abs(models[copy]["adds"]["value"]) <= (0 if rung == "greedy" else 0.005)


def test_leaving_one_out_is_the_rung_refitted_without_it():
    members = members_of({"a": 1.0, "b": 0.8, PAIR: 1.2, OTHER: 1.1}, n_repeats=2, n_rows=200)
    options = settings("logistic")
    stitching = described(members, {PAIR: ["a", "b"], OTHER: ["a", "b"]}, options)
    scores = []
    for kept in (members, members.only(["a", "b", OTHER])):
        parts = zip(kept.out_of_fold, kept.folds, strict=True)
        refitted = [
            own_folds(cross_fit(options["ladder"]["logistic"], probabilities, kept.train.labels, folds)[0], folds)
            for probabilities, folds in parts
        ]
        scores.append(options["metric"].score(members.train.labels, np.mean(refitted, axis=0)))
    assert stitching["models"][0]["adds"]["value"] == pytest.approx(scores[0] - scores[1], abs=1e-12)


def test_no_fold_is_predicted_by_a_fit_on_its_own_labels():
    members = members_of({"a": 1.0, PAIR: 1.0}, n_rows=80)
    build = settings("logistic")["ladder"]["logistic"]
    plain = cross_fitted(members, build)
    for fold in range(4):
        inside = members.folds[0] == fold
        labels = np.where(inside, 1 - members.train.labels, members.train.labels)
        other = members_of({"a": 1.0, PAIR: 1.0}, n_rows=80)
        changed = cross_fitted(
            Members(**{**vars(other), "train": Rows(other.train.ids, labels, other.train.clusters)}), build
        )
        assert np.array_equal(changed[inside], plain[inside]) and not np.array_equal(changed, plain)


def test_useless_stitched_models_add_nothing_sure():
    members = members_of({"a": 1.0, "b": 1.0, PAIR: 0.0, OTHER: 0.0}, n_rows=600, holdout=200)
    stitching = described(members, {PAIR: ["a", "b"], OTHER: ["a", "b"]}, settings("mean", "greedy", "logistic"))
    assert all(gain["low"] <= 0 for gain in stitching["difference"].values())
    assert all(model["gain"]["high"] < 0 for model in stitching["models"])


@pytest.mark.parametrize(
    ("chosen", "ladder", "n_rows", "expected"),
    [
        ("lightgbm", ["mean", "greedy", "lightgbm"], 400, "lightgbm"),
        ("lightgbm", ["mean", "greedy", "lightgbm"], 1_000_000, "greedy"),
        ("logistic-2", ["mean", "logistic-2"], 1_000_000, "mean"),
        ("greedy-2", ["greedy", "greedy-2"], 1_000_000, "greedy-2"),
        ("rank_mean", ["mean", "rank_mean"], 1_000_000, "rank_mean"),
    ],
)
def test_a_slow_rung_gives_way_where_its_refits_would_read_too_much(chosen, ladder, n_rows, expected):
    # 20 models left out, 4 folds, 3 members, 2 labels: 480 numbers a row.
    members = members_of({"a": 1.0, "b": 1.0, PAIR: 1.0}, n_rows=8)
    wide = Members(**{**vars(members), "out_of_fold": np.broadcast_to(members.out_of_fold[:, :1], (1, n_rows, 3, 2))})
    assert leave_out_rung(wide, chosen=chosen, ladder=ladder, n_left_out=20) == expected


def test_the_mean_stands_in_where_the_ladder_has_nothing_quick(monkeypatch):
    monkeypatch.setattr("pipeline.ensemble.contributions.REFIT_NUMBERS", 0)
    members = members_of({"a": 1.0, PAIR: 1.0}, n_rows=120)
    stitching = described(members, {PAIR: ["a"]}, settings("logistic"))
    score = settings("mean")["metric"].score
    with_it, without = members.out_of_fold[0].mean(axis=1), members.out_of_fold[0, :, 0]
    labels = members.train.labels
    assert stitching["leave_one_out"] == "mean"
    assert stitching["models"][0]["adds"]["value"] == pytest.approx(score(labels, with_it) - score(labels, without))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_better_encoder_is_the_one_to_beat_whatever_way_the_metric_points(metric):
    members = members_of({"a": 0.5, "b": 1.5, PAIR: 2.5}, n_rows=600)
    everyone, inner = members, members.only(["a", PAIR])  # b is no member of the ensemble
    options = settings("mean", metric=metric)
    model = described(inner, {PAIR: ["a", "b"]}, options, everyone)["models"][0]
    score = partial(options["metric"].score, members.train.labels)
    by_name = {name: score(members.out_of_fold[0, :, position]) for position, name in enumerate(members.names)}
    assert model["gain"]["over"] == "b" and model["parents"] == {"a": by_name["a"], "b": by_name["b"]}
    sign = 1 if metric == "accuracy" else -1
    more = {
        name: gain_on_test(members.candidate(name), members, metric=options["metric"]).value for name in (PAIR, "b")
    }
    gain = sign * (by_name[PAIR] + more[PAIR] - by_name["b"] - more["b"])
    assert model["gain"]["value"] == pytest.approx(gain) and model["gain"]["low"] > 0
    wrong = [members.out_of_fold[0, :, position].argmax(axis=1) != members.train.labels for position in range(3)]
    expected = {name: np.corrcoef(wrong[position], wrong[2])[0, 1] for position, name in enumerate("ab")}
    assert model["error_correlation"] == pytest.approx(expected)
    assert (model["head"], model["encoders"]) == ("cnn", ["a", "b"])


def test_gains_are_paired():
    members = members_of({"a": 1.0}, copies={PAIR: "a"})
    keys = [("model", "a"), ("model", PAIR)]
    compared = compare(
        members.train.labels, {key: members.out_of_fold[0, :, 0] for key in keys},
        metric=make_metric("accuracy", 2), clusters=members.train.clusters, n_resamples=100, seed=0,
    )  # fmt: skip
    assert (compared.gain(*keys).low, compared.gain(*keys).high) == (0, 0) and compared.score(keys[0])["low"] < 1


def test_without_stitched_members_there_is_nothing_to_say():
    members = members_of({"a": 1.0, "b": 1.0}, n_rows=80)
    assert described(members, {}, settings("mean")) is None


def test_with_nothing_but_stitched_members_there_is_no_ensemble_without_them():
    everyone = members_of({"a": 1.0, "b": 1.0, PAIR: 1.0}, n_rows=80, holdout=20)
    stitching = described(everyone.only([PAIR]), {PAIR: ["a", "b"]}, settings("mean", "logistic"), everyone)
    assert stitching["difference"] is stitching["without_pairs"] is stitching["models"][0]["adds"] is None
    assert stitching["with_pairs"]["holdout"]["score"] > 0.5
    json.dumps(stitching, allow_nan=False)


def test_kept_members_are_the_ones_gathered_alone():
    members = members_of({"a": 1.0, "b": 0.5, PAIR: 2.0}, holdout=10)
    kept = members.only([PAIR, "a"])
    assert kept.names == [PAIR, "a"] and kept.train is members.train
    assert np.array_equal(kept.out_of_fold[0, :, 1], members.out_of_fold[0, :, 0])
    assert np.array_equal(kept.holdout_probabilities[:, 0], members.holdout_probabilities[:, 2])
    assert kept.test_probabilities.shape == (5, 2, 2) and kept.out_of_fold.flags["C_CONTIGUOUS"]


PARAMS = """
competition: small
augment: {}
training: {}
encoders: {model0: {source: from_config}, model1: {source: from_config}, unused: {source: from_config}}
stitch: {pairs: [[model0, model1]], heads: {cnn: text_cnn}}
submit: {}
seed: 5
tasks:
  news: {kind: binary, metric: accuracy, train: data/small/raw.csv, test: data/small/raw.csv}
baselines: {tfidf: tfidf_logistic}
stack: {members: [model0, model0+model1+cnn, tfidf], ladder: [mean, logistic], n_bootstrap: 50}
folds: {near_duplicate_similarity: null}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder in which the stack stage can run: one encoder is a parent of the pair but no member."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "raw.csv").touch()
    table, folds, members = competition(n_rows=160, holdout=20, n_repeats=1, signals=(1.0, 1.2, 1.5, 0.5))
    write_table(table)
    write_folds(folds.rows)
    write_alike(table)
    digest = read_folds().digest
    places = [("finetune", "model0"), ("finetune", "model1"), ("stitch", "model0+model1+cnn"), ("baseline", "tfidf")]
    for (stage, name), model in zip(places, members.values(), strict=True):
        mine = Predictions(name, "news", model.labels, model.rows, model.logits, digest, "", 0)
        write_predictions(mine, predictions_path(stage, name, "news"))
    units = [{"task": "news", "encoders": ["model1", "model0"]}, {"task": "other", "encoders": ["unused"]}]
    write_json(OUT / "stitch" / "model0+model1+cnn" / "history.json", {"units": units})
    return tmp_path


def test_the_stage_compares_a_pair_with_an_encoder_that_is_no_member(repository):
    main()
    scores = read_json(SCORES)["tasks"]["news"]
    stitching, model = scores["stitching"], scores["stitching"]["models"][0]
    assert [record["name"] for record in scores["models"][:3]] == ["model0", "model0+model1+cnn", "tfidf"]
    assert set(model["parents"]) == {"model0", "model1"} and model["encoders"] == ["model0", "model1"]
    assert stitching["with_pairs"]["oof"]["score"] == scores["estimate"]["score"]
    assert stitching["with_pairs"]["oof"]["low"] == scores["estimate"]["low"]
    assert stitching["with_pairs"]["holdout"]["score"] == scores["holdout"]["score"]
    assert stitching["without_pairs"]["n_models"] == 2


def test_parents_are_those_of_the_task_in_the_order_of_params(repository):
    parents = read_parents(["model0+model1+cnn"], encoders=["unused", "model0", "model1"], task="news")
    assert parents == {"model0+model1+cnn": ["model0", "model1"]}
