"""The ensemble: honest in its estimate, deterministic, and the same on disk."""

import numpy as np
import pytest

from pipeline import components
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.paths import METRICS, OUT, PLOTS, SCORES, predictions_path
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions, write_predictions
from pipeline.artifacts.table import read_folds, write_folds, write_table
from pipeline.ensemble import task_stack
from pipeline.ensemble.decisions import Decision, Plan, cross_fit_decision, decide
from pipeline.ensemble.members import gather_members
from pipeline.ensemble.stacking import build_ensemble, ensemble_predictions
from stages.stack import main
from tests.competition import DIGEST, competition, write_alike
from tests.ensembles import KIND, described, settings, simulate, stacked
from tests.small import make_metric


@pytest.mark.parametrize(("metric", "tune_above"), [("accuracy", 1.0), ("f1_macro", 0.0), ("auc", 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_the_estimate_of_many_useless_members_stays_at_chance(metric, tune_above, seed):
    useless = {"n_rows": 300, "signals": (0.0,) * 25, "n_repeats": 1, "seed": seed}
    gathered, ensemble = stacked(metric=metric, tune_above=tune_above, **useless)
    score = make_metric(metric, 2).score
    final = ensemble.out_of_fold.mean(axis=0)
    assert abs(score(gathered.train.labels, final) - 0.5) < 3.3 * np.sqrt(0.25 / 300) * (1 if metric != "auc" else 1.2)
    # The greedy stackers on the rows they were fitted on show what not crossing would have claimed.
    [greedy], folds = ensemble.fitted["greedy"], gathered.folds[0]
    fitted = [(stacker, folds != fold) for fold, stacker in enumerate(greedy)]
    claimed = [score(gathered.train.labels[rest], one.predict(gathered.out_of_fold[0][rest])) for one, rest in fitted]
    assert np.mean(claimed) > 0.56


def test_a_tuned_decision_of_useless_members_stays_at_chance():
    # Twelve labels give many scales to overfit; chance of macro-F1 is about 1 / 12.
    labels = tuple("abcdefghijkl")
    gathered, ensemble = stacked(metric="accuracy", n_rows=480, signals=(0.0,) * 4, labels=labels, n_repeats=1)
    score = make_metric("accuracy", 12).score
    assert score(gathered.train.labels, ensemble.out_of_fold[0]) < 1 / 12 + 3.3 * np.sqrt(1 / 12 * 11 / 12 / 480)


def test_repeats_do_not_change_what_a_stacker_is_fitted_on():
    members, _ = simulate({"a": 1.0, "b": 0.5}, n_repeats=3, n_test=50)
    options = settings("logistic")
    ensemble = build_ensemble(members, **options)
    for repeat in range(3):
        inputs, folds = members.out_of_fold[repeat], members.folds[repeat]
        for fold, stacker in enumerate(ensemble.fitted["logistic"][repeat]):
            alone = options["ladder"]["logistic"]()
            alone.fit(inputs[folds != fold], members.train.labels[folds != fold])
            assert stacker.state() == alone.state()
    # What is submitted is the mean of all of them, and a fold's models go with the stackers that never saw the fold.
    everyone = [
        one.predict(members.test_probabilities) for of_repeat in ensemble.fitted["logistic"] for one in of_repeat
    ]
    assert ensemble.test == pytest.approx(np.mean(everyone, axis=0), abs=1e-12)
    candidate, first = ensemble.submitted(members), members.sampled_by_fold[0]
    of_fold = [of_repeat[0].predict(first) for of_repeat in ensemble.fitted["logistic"]]
    assert candidate.by_fold[0] == pytest.approx(np.mean(of_fold, axis=0), abs=1e-12)
    assert np.array_equal(candidate.decide(candidate.mean), ensemble.test)


@pytest.mark.parametrize("tune_above", [0.0, 1e9])
def test_the_estimate_is_that_of_a_decision_used_or_not_as_it_is_submitted(tune_above):
    members, _ = simulate({"a": 1.0, "b": 1.0}, shares=[0.8, 0.2], n_rows=600)
    options = settings("mean", metric="f1_macro", tune_above=tune_above)
    ensemble, [values] = build_ensemble(members, **options), members.out_of_fold.mean(axis=2)
    tuned = cross_fit_decision(members.train.labels, values[None], members.folds, kind=KIND, metric=options["metric"])
    used = tune_above == 0
    assert ensemble.plan.decision.used == used
    assert np.array_equal(ensemble.out_of_fold[0], tuned if used else values)
    mean = members.test_probabilities.mean(axis=1)
    scaled = KIND.apply_decision(mean, ensemble.plan.decision.scales)
    assert ensemble.test == pytest.approx(scaled if used else mean)


def test_one_member_needs_no_ladder():
    gathered, ensemble = stacked(signals=(1.0,), rungs=("logistic", "greedy"), tune_above=None)
    assert list(ensemble.rungs) == ["mean"]
    assert ensemble.out_of_fold == pytest.approx(gathered.out_of_fold[:, :, 0])


def test_two_folds_leave_nothing_to_choose_on(caplog):
    _, ensemble = stacked(n_folds=2)
    assert (ensemble.chosen, ensemble.plan.decision) == ("mean", None)
    assert "two folds leave nothing to choose on" in caplog.text


def test_the_hold_out_is_scored_once_and_changes_nothing():
    table, folds, members = competition(holdout=30)
    options = settings("mean", "logistic", tune_above=1.0)

    def run():
        gathered = gather_members(members, table=table, folds=folds, task="news")
        return gathered, build_ensemble(gathered, **options)

    gathered, ensemble = run()
    holdout = described(gathered, ensemble)["holdout"]
    assert len(gathered.train.ids) == 210 and holdout["rows"] == 30
    assert holdout["score"] == options["metric"].score(gathered.holdout.labels, ensemble.holdout) > 0.6
    table.rows["label"] = [
        {"no": "yes", "yes": "no"}[label] if row in gathered.holdout.ids else label
        for row, label in zip(table.rows["row_id"], table.rows["label"], strict=True)
    ]
    other, same = run()
    assert np.array_equal(same.out_of_fold, ensemble.out_of_fold) and np.array_equal(same.test, ensemble.test)
    assert described(other, same)["holdout"]["score"] == pytest.approx(1 - holdout["score"])


def test_the_ensemble_keeps_the_contract_of_predictions(tmp_path):
    gathered, ensemble = stacked(holdout=20)
    path = tmp_path / "out" / "stack" / "ensemble" / "news.parquet"
    write_predictions(ensemble_predictions(gathered, ensemble, manifest=DIGEST, seed=3), path)
    read = read_predictions(path, manifest=DIGEST)
    assert read.rows.groupby("split").size().to_dict() == {"holdout": 20, "oof": 440, "test": 40}
    assert set(read.rows.loc[read.rows["split"] != "oof", "fold"]) == {-1}
    assert (read.model, read.labels, read.recipe, read.seed) == ("ensemble", ["no", "yes"], "", 3)
    final = probabilities_of(read, "oof", gathered.train.ids, kind=KIND)
    assert final == pytest.approx(ensemble.out_of_fold.mean(axis=0), abs=1e-6)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    contents = []
    for run in ("one", "two"):
        gathered, ensemble = stacked(rungs=("mean", "rank_mean", "greedy", "logistic", "lightgbm"), n_repeats=1)
        folder = tmp_path / run
        write_predictions(ensemble_predictions(gathered, ensemble, manifest=DIGEST, seed=0), folder / "e.parquet")
        write_json(folder / "state.json", ensemble.state(gathered))
        write_json(folder / "scores.json", {"tasks": {"news": described(gathered, ensemble)}})
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert len(contents[0]) == 6 and contents[0] == contents[1]


@pytest.mark.parametrize("rung", ["logistic", "greedy", "lightgbm"])
def test_the_state_on_disk_predicts_the_same(tmp_path, rung):
    gathered, ensemble = stacked(metric="f1_macro", rungs=(rung,), tune_above=0.0)
    write_json(tmp_path / "news.json", ensemble.state(gathered))
    read = read_json(tmp_path / "news.json")
    restored = []
    for of_repeat in read["states"]:
        for state in of_repeat:
            stacker = components.build("stackers", read["rung"], metric=make_metric("f1_macro", 2), seed=0)
            stacker.load_state(state)
            restored.append(stacker.predict(gathered.test_probabilities))
    assert np.shape(read["states"])[:2] == (2, 4)
    plan = Plan(0, Decision(**read["decision"]))
    assert np.array_equal(decide(np.mean(restored, axis=0), plan, kind=KIND), ensemble.test)


PARAMS = """
competition: small
augment: {}
training: {}
encoders: {unused: {source: from_config}}
stitch: {pairs: []}
submit: {}
seed: 5
tasks:
  news: {kind: binary, metric: f1_macro, report_metrics: [accuracy, auc], train: data/small/raw.csv, test: data/small/raw.csv}
baselines: {model0: tfidf_logistic, model1: tfidf_logistic, model2: tfidf_logistic}
stack: {members: [model0, model1, model2], n_bootstrap: 50}
folds: {near_duplicate_similarity: null}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "raw.csv").touch()
    table, folds, members = competition(holdout=20)
    write_table(table)
    write_folds(folds.rows)
    write_alike(table)
    digest = read_folds().digest
    for name, model in members.items():
        mine = Predictions(name, "news", model.labels, model.rows, model.logits, digest, "", 0)
        write_predictions(mine, predictions_path("baseline", name, "news"))
    return tmp_path


def test_the_stage_writes_everything_and_twice_the_same(repository):
    contents = []
    for _ in range(2):
        main()
        written = [SCORES, METRICS, OUT / "stack" / "news.json"]
        written += [predictions_path("stack", "ensemble", "news")]
        written += [PLOTS / f"{name}.csv" for name in ("confusion", "calibration", "scores")]
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    scores, metrics = read_json(SCORES)["tasks"]["news"], read_json(METRICS)
    assert scores["metric"] == "f1_macro" and scores["holdout"]["rows"] == 20
    assert {model["kind"] for model in scores["models"]} == {"baseline", "rung"}
    assert scores["stitching"] is None
    assert metrics["out_of_fold"] == metrics["tasks"]["news"]["f1_macro"] == scores["estimate"]["score"]


@pytest.mark.parametrize(
    ("metric", "tune", "expected"), [("f1_macro", "true", 0.0), ("accuracy", "true", 1.0), ("f1_macro", "false", None)]
)
def test_the_stage_asks_the_metric_how_surely_a_decision_must_pay(repository, monkeypatch, metric, tune, expected):
    asked = []
    monkeypatch.setattr(task_stack, "build_ensemble", lambda *_, tune_above, **__: asked.append(tune_above) or 1 / 0)
    changed = PARAMS.replace("metric: f1_macro", f"metric: {metric}").replace("report_metrics: [accuracy, auc], ", "")
    (repository / "params.yaml").write_text(changed.replace("n_bootstrap: 50", f"tune_decision: {tune}"))
    with pytest.raises(SystemExit):
        main()
    assert asked == [expected]


def test_the_stage_refuses_members_made_from_other_folds(repository, capsys):
    folds = read_folds().rows
    write_folds(folds.sample(frac=1, random_state=0, ignore_index=True))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3
    assert "was made from the fold manifest" in capsys.readouterr().err
    assert not METRICS.exists()
