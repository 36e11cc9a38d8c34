"""Tests of the report: same bytes, nothing executed or loaded, every number the one given, missing parts missing."""

import copy
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.report.cautions import cautions, data_cautions, premise_cautions
from pipeline.report.figures import Estimate, intervals, learning_curves_csv, short, thin
from pipeline.report.leak_signs import Leak
from pipeline.report.reporting import as_yaml, calibration_error, render

LABELS = ["高兴", "愤怒", "label_2"]
SCRIPT = "<script>alert('x')</script>"


def gain_of(value: float | None) -> dict[str, float | None]:
    """Return a gain as scores.json has it."""
    low, high = (None, None) if value is None else (value - 0.004, value + 0.004)
    return {"value": value, "low": low, "high": high, "standard_error": 0.002}


def model(name: str, kind: str, score: float, gain: float | None = None) -> dict[str, Any]:
    """Return a model as scores.json has it."""
    return {
        "name": name,
        "kind": kind,
        "score": score,
        "folds": [[score - 0.01, score, score + 0.01]],
        "mean": score,
        "std": 0.0082,
        "low": score - 0.02,
        "high": score + 0.02,
        "standard_error": 0.01,
        "metrics": {"accuracy": score + 0.05},
        "averaging": 0.0123,
        "gain": gain and gain_of(gain),
    }


def task_scores() -> dict[str, Any]:
    """Return one task of scores.json with every optional part."""
    return {
        "metric": "f1_macro",
        "higher_is_better": True,
        "labels": LABELS,
        "n_train": 300,
        "n_test": 120,
        "n_scored": 120,
        "models": [
            model("tfidf", "baseline", 0.6123),
            model("roberta", "encoder", 0.7234),
            model("mean", "rung", 0.7345, gain=0.0111),
        ],
        "best_single": "roberta",
        "baseline": 0.6123,
        "chosen": "mean",
        "estimate": {
            "score": 0.7345,
            "low": 0.7145,
            "high": 0.7545,
            "standard_error": 0.01,
            "averaging": 0.0055,
            "twins": 0.0,
            "expected": 0.74,
            "test_low": 0.6911,
            "test_high": 0.7889,
            "unweighted": None,
            "metrics": {"accuracy": 0.7845},
        },
        "gain": gain_of(0.0095),
        "effective_rows": None,
        "twins": 0,
        "label_shift": None,
        "decision": {"used": True, "scales": [1.0, 1.1, 0.9], "gain": 0.0032, "standard_error": 0.0011},
        "weights": {"mean": {"tfidf": 0.4321, "roberta": 0.5679}},
        "agreement": {"names": ["tfidf", "roberta"], "values": [[1.0, 0.37], [0.37, 1.0]]},
        "confusion": [[80, 17, 3], [10, 85, 5], [2, 8, 90]],
        "calibration": [
            {"low": 0.0, "high": 0.5, "confidence": None, "accuracy": None, "rows": 0},
            {"low": 0.5, "high": 1.0, "confidence": 0.83, "accuracy": 0.79, "rows": 300},
        ],
        "hardest": [{"row_id": "0017", "label": "高兴", "predicted": "愤怒", "probability": 0.0123}],
        "holdout": {"rows": 57, "score": 0.7301, "low": 0.6501, "high": 0.8101, "averaging": gain_of(0.0072)},
        "stitching": None,
    }


def task_audit() -> dict[str, Any]:
    """Return one task's audit of clean data."""
    lengths = {"50": 12, "90": 40, "99": 88, "max": 141}
    return {
        "rows": {"train": 300, "test": 120},
        "classes": {"高兴": 100, "愤怒": 100, "label_2": 100},
        "lengths": {split: {"characters": lengths, "tokens": lengths} for split in ("train", "test")},
        "empty_texts": {split: {"count": 0, "row_ids": []} for split in ("train", "test")},
        "duplicates": {"exact_rows": 0, "near_rows": 0, "clusters": 0, "largest_clusters": []},
        "conflicting_labels": {"texts": 0, "rows": 0, "examples": []},
        "overlap": {"test_ids_in_train": 0, "test_texts_in_train": 0, "test_near_duplicates_in_train": 0},
        "label_variants": [],
        "test_likeness": {"auc": 0.51, "low": 0.47, "high": 0.55, "shifted": False, "telling": []},
    }


def unit(fold: int) -> dict[str, Any]:
    """Return the record of one trained fold."""
    steps = [
        {"step": step, "epoch": 0, "loss": math.exp(-step / 10) + 0.1 * fold, "learning_rate": 1e-4}
        for step in range(1, 20)
    ]
    return {
        "task": "main",
        "repeat": 0,
        "fold": fold,
        "key": f"{fold}" * 32,
        "seconds": 75.0,
        "tokens_per_second": 15234.0,
        "n_rows": 200,
        "n_truncated": 1,
        "steps": steps,
        "epochs": [{"epoch": 0, "loss": 0.4567, "inner_score": None}],
        "numerics": {"device": "cpu", "threads": 1, "torch": "2.13.0", "transformers": "5.0.0"},
    }


def everything() -> dict[str, Any]:
    """Return all that a page is made of."""
    return {
        "scores": {"tasks": {"main": task_scores()}},
        "leaks": [],
        "audit": {"main": task_audit()},
        "histories": {"roberta": {"units": [unit(0), unit(1)]}},
        "stitched": {},
        "augmentation": {"steps": [], "barred": {}, "n_unlabelled": 0},
        "ablations": {},
        "board": [],
        "left_out": [],
        "last_runs": [{"stage": "finetune-roberta", "computed": 1, "reused": 4, "seconds": 3725.0}],
        "submissions": {
            "": {
                "path": "out/submit/submission.csv",
                "sha256": "ab" * 32,
                "model": "ensemble",
                "tasks": {"main": {"rows": 120, "labels": {"高兴": 60, "愤怒": 36, "label_2": 24}}},
            }
        },
        "params": {
            "competition": "demo",
            "seed": 42,
            "training": {"loss": {"kind": "losses", "name": "focal", "options": {}}},
        },
        "texts": {"main": {"0017": ("今天天气真好\n second line", "a pair")}},
        "versions": {"torch": "2.13.0"},
        "manifest": "cd" * 32,
    }


@pytest.fixture
def values() -> dict[str, Any]:
    """All that a page is made of, to be changed by a test."""
    return everything()


@pytest.fixture(scope="module")
def whole_page() -> str:
    """The page of unchanged values."""
    return page(everything())


def page(values: dict[str, Any]) -> str:
    """Render the page of these values."""
    return render(values["scores"]["tasks"], **{name: value for name, value in values.items() if name != "scores"})


def section(html: str, name: str) -> str:
    """Return one section of a page without its tags, white space collapsed."""
    part = html[html.index(f'<section id="{name}"') :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", part[: part.index("</section>")]))


class Elements(HTMLParser):
    """Collects the elements of a page and refuses a page whose elements are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "action", "data") or name.startswith("on"):
                self.references.append(str(value))
            self.references += re.findall(r"url\(([^)]*)\)", str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(html: str) -> Elements:
    """Parse a page."""
    parser = Elements()
    parser.feed(html)
    assert parser.open == []
    return parser


def test_same_values_give_the_same_bytes(values: dict[str, Any], whole_page: str) -> None:
    assert page(values) == whole_page


def test_rendering_changes_none_of_its_values(values: dict[str, Any]) -> None:
    before = copy.deepcopy(values)
    page(values)
    assert values == before


def test_the_page_loads_nothing_and_runs_nothing(whole_page: str) -> None:
    html, tags = whole_page, elements(whole_page)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(tags.names)
    assert tags.references and all(reference.startswith("#") for reference in tags.references)
    assert "http" not in html and "@import" not in html and "src=" not in html


def test_every_reference_inside_the_page_has_one_target(values: dict[str, Any]) -> None:
    values["scores"]["tasks"]["other"] = task_scores()
    values["audit"]["other"] = task_audit()
    [submission] = values["submissions"].values()
    submission["tasks"]["other"] = submission["tasks"]["main"]
    tags = elements(page(values))
    assert len(tags.ids) == len(set(tags.ids))
    assert {reference.removeprefix("#") for reference in tags.references} <= set(tags.ids)


def put_in_text(values: dict[str, Any]) -> None:
    values["texts"]["main"]["0017"] = (SCRIPT, SCRIPT)


def put_in_label(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores["labels"] = [SCRIPT, "b", "c"]
    scores["hardest"][0]["label"] = SCRIPT
    values["audit"]["main"]["classes"] = {SCRIPT: 100, "b": 100, "c": 5}
    values["audit"]["main"]["label_variants"] = [[SCRIPT, "b"]]


def put_in_model_name(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores["models"][1]["name"] = scores["best_single"] = scores["agreement"]["names"][1] = SCRIPT
    scores["weights"]["mean"] = {SCRIPT: 1.0}
    values["histories"] = {SCRIPT: values["histories"]["roberta"]}


def put_in_example(values: dict[str, Any]) -> None:
    audit = values["audit"]["main"]
    audit["duplicates"] = {
        "exact_rows": 1,
        "near_rows": 1,
        "clusters": 1,
        "largest_clusters": [{"rows": 2, "examples": [SCRIPT]}],
    }
    audit["conflicting_labels"] = {"texts": 1, "rows": 2, "examples": [{"text": SCRIPT, "labels": [SCRIPT]}]}


def put_in_leak(values: dict[str, Any]) -> None:
    values["leaks"] = [Leak("copies of scored rows", "main", f"row {SCRIPT}")]


def put_in_params(values: dict[str, Any]) -> None:
    values["params"]["tasks"] = {"main": {"train": SCRIPT}}


@pytest.mark.parametrize(
    "put",
    [put_in_text, put_in_label, put_in_model_name, put_in_example, put_in_leak, put_in_params],
    ids=lambda put: put.__name__,
)
def test_D21_markup_in_data_is_shown_as_text(values: dict[str, Any], put: Any) -> None:
    """Markup in texts, labels, names and messages stands in the report as text and runs nothing."""
    put(values)
    html = page(values)
    assert "script" not in elements(html).names
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("headline", "Expected on the test set, f1_macro (higher is better) 0.7400 95 %: 0.6911 to 0.7889; 120 rows"),
        ("headline", "each row by one fold model 0.7345 95 %: 0.7145 to 0.7545; averaging adds +0.0055 Untouched"),
        ("headline", "hold-out, 57 rows 0.7301 0.6501 to 0.8101; averaging adds +0.0072 (+0.0032 to +0.0112)"),
        ("headline", "over the best single model, on the test set +0.0095 (+0.0055 to +0.0135)"),
        ("headline", "Best single model roberta 0.7234"),
        ("headline", "Baseline 0.6123"),
        ("headline", "used gain +0.0032 ± 0.0011"),
        ("headline", "out/submit/submission.csv Rows 120 Predictions of ensemble"),
        ("ran", "finetune-roberta 1 4 1 h 02 min"),
        ("ran", "roberta 2 400 2 2 min 30 s 15,234"),
        ("data", "train 300 0 12 40 88 141 12 40 88 141"),
        ("data", "label_2 100 33.3 % 24 20.0 %"),
        ("scores", "mean rung 0.7345 0.7145 0.7545 0.7345 0.0082 +0.0123 +0.0111 +0.0071 +0.0151 0.7845"),
        ("scores", "tfidf baseline 0.6123 0.5923 0.6323 0.6123 0.0082 +0.0123 – – – 0.6623"),
        ("curves", "0 1 1.0048 0.4567 –"),
        ("confusion", "高兴 80 17 3 100 80.0 % 87.0 %"),
        ("confusion", "高兴 愤怒 17 17.0 %"),
        ("calibration", "50.0 % to 100.0 % 83.0 % 79.0 % 300"),
        ("calibration", "calibration error of mean: 0.0400"),
        ("agreement", "roberta 0.37 1.00"),
        ("weights", "tfidf 0.4321"),
        ("hardest", "0017 高兴 愤怒 0.0123 今天天气真好 second line a pair"),
        ("made", "Seed 42 Fold manifest " + "cd" * 32 + " torch 2.13.0"),
        ("made", "Numerics of roberta device cpu, threads 1, transformers 5.0.0 Parameters"),
        ("made", "loss: focal"),
    ],
)
def test_numbers_shown_are_the_numbers_given(whole_page: str, where: str, shown: str) -> None:
    assert shown in section(whole_page, where)


def test_models_stand_best_first(whole_page: str) -> None:
    html = section(whole_page, "scores")
    assert html.index("mean rung") < html.index("roberta encoder") < html.index("tfidf baseline")


def test_models_stand_best_first_where_lower_is_better(values: dict[str, Any]) -> None:
    values["scores"]["tasks"]["main"]["higher_is_better"] = False
    html = section(page(values), "scores")
    assert html.index("tfidf baseline") < html.index("roberta encoder") < html.index("mean rung")


def test_optional_parts_may_be_missing(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores.update(holdout=None, decision=None, baseline=None, gain=None, weights={}, hardest=[], calibration=[])
    values.update(histories={}, last_runs=[], texts={})
    html = page(values)
    assert "hold-out" not in section(html, "headline") and "Tuned decision" not in html and "Gain of" not in html
    assert "No encoder was trained." in section(html, "ran")
    assert "give no weights" in section(html, "weights")


def test_what_a_time_budget_left_out_is_a_caution(values: dict[str, Any]) -> None:
    note = {"model": "deberta", "kept": "1 of 5 ended", "budget_hours": 2.0, "hours_needed": 3.25, "is_known": True}
    values["left_out"] = [note]
    assert "deberta, and what is stitched from it, was left out (1 of 5 ended)" in section(page(values), "headline")


def test_rows_with_a_twin_and_rows_that_no_board_scores_are_counted(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores.update(twins=30, n_scored=36)
    scores["estimate"].update(twins=0.0211, expected=0.7611)
    shown = section(page(values), "headline")
    assert "0.7611 95 %: 0.6911 to 0.7889; 120 rows, of which 36 are scored" in shown
    assert "averaging adds +0.0055, 30 test rows with a twin +0.0211" in shown


def test_one_member_has_nothing_to_agree_with(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores["agreement"] = {"names": ["roberta"], "values": [[1.0]]}
    assert "nothing to compare" in section(page(values), "agreement")


def test_scores_without_a_value_are_dashes(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    scores["models"][1].update(score=None, low=None, high=None, folds=[[None, None, None]], mean=None, std=None)
    scores["estimate"].update(test_low=None, test_high=None, low=None, high=None)
    scores["gain"] = scores["holdout"]["averaging"] = gain_of(None)
    html = page(values)
    assert "roberta encoder – – – – –" in section(html, "scores")
    assert "95 %: – to –" in section(html, "headline") and "test set – (– to –)" in section(html, "headline")


def test_many_labels_show_confusions_instead_of_a_matrix(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    n_labels = 40
    scores["labels"] = [f"label_{number}" for number in range(n_labels)]
    scores["confusion"] = [[9 if a == b else 0 for b in range(n_labels)] for a in range(n_labels)]
    scores["confusion"][3][7] = 5
    values["audit"]["main"]["classes"] = dict.fromkeys(scores["labels"], 8)
    html = section(page(values), "confusion")
    assert "Recall" not in html
    assert "label_3 label_7 5 35.7 %" in html


def test_clean_data_and_clear_gains_give_no_caution() -> None:
    assert cautions(task_scores(), units={"roberta": [unit(0)]}, submitted="ensemble") == []
    assert data_cautions(task_audit()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": 0.72}, r"0.7145 to 0.7545\) does not lie clear of the baseline's 0.7200"),
        ({"higher_is_better": False, "baseline": 0.75}, "does not lie clear of the baseline's 0.7500"),
        ({"holdout": {"rows": 90, "score": 0.6, "low": 0.58, "high": 0.62}}, "hold-out scores 0.6000 .* 0.7400"),
    ],
)
def test_a_doubtful_score_is_a_caution(change: dict[str, Any], said: str) -> None:
    assert any(
        re.search(said, caution) for caution in cautions({**task_scores(), **change}, units={}, submitted="ensemble")
    )


@pytest.mark.parametrize(("higher_is_better", "doubted"), [(True, (0.6, 0.69)), (False, (0.8, 0.87))])
def test_only_a_hold_out_worse_than_expected_is_a_caution(higher_is_better: bool, doubted: tuple[float, ...]) -> None:
    # The estimate is 0.7345 +- 0.02 out of fold, moved by averaging to 0.729 or 0.74; twins and weights of rows, which
    # move what is expected of the test file further, are no matter of the hold-out.
    scores: dict[str, Any] = {**task_scores(), "higher_is_better": higher_is_better, "baseline": None}
    promised = 0.74 if higher_is_better else 0.729
    moved = {"averaging": promised - 0.7345, "twins": 0.1, "expected": 0.84 if higher_is_better else 0.63}
    scores["estimate"] = {**scores["estimate"], **moved}
    for value in (0.6, 0.69, 0.72, 0.75, 0.8, 0.87):
        holdout: Any = {"rows": 900, "score": value, "low": value - 0.02, "high": value + 0.02}
        said = " ".join(cautions({**scores, "holdout": holdout}, units={}, submitted="ensemble"))
        assert ("hold-out" in said) == (value in doubted)
        assert value not in doubted or f"promises {promised:.4f}: worse" in said


def test_a_hold_out_within_both_intervals_is_no_caution() -> None:
    # 0.06 off: outside the estimate's own interval, but well inside what 57 rows can say
    holdout = {"rows": 57, "score": 0.67, "low": 0.59, "high": 0.75}
    assert cautions({**task_scores(), "holdout": holdout}, units={}, submitted="ensemble") == []


@pytest.mark.parametrize(
    ("low", "value", "high", "said"),
    [
        (-0.001, 0.002, 0.005, r"is \+0.0020 \(−0.0010 to \+0.0050\): not significant."),
        (-0.03, -0.02, -0.01, r"is −0.0200 \(−0.0300 to −0.0100\): a loss."),
    ],
)
def test_a_gain_that_may_be_chance_is_a_caution(low: float, value: float, high: float, said: str) -> None:
    scores = task_scores()
    scores["gain"] = {"value": value, "low": low, "high": high, "standard_error": 0.002}
    assert re.search(said, cautions(scores, units={}, submitted="ensemble")[0])


def test_submitting_another_model_than_the_one_estimated_is_a_caution() -> None:
    assert "predictions of roberta" in cautions(task_scores(), units={}, submitted="roberta")[0]


@pytest.mark.parametrize(
    ("test", "holdout", "n_said"),
    [((-0.02, -0.01), None, 1), ((-0.02, 0.01), (-0.02, -0.01), 1), ((-0.02, 0.01), None, 0), ((None, None), None, 0)],
)
def test_stitched_models_that_surely_lose_are_a_caution(test: Any, holdout: Any, n_said: int) -> None:
    difference = {
        split: bounds and {"value": -0.015, "low": bounds[0], "high": bounds[1]}
        for split, bounds in (("test", test), ("holdout", holdout))
    }
    said = cautions({**task_scores(), "stitching": {"difference": difference}}, units={}, submitted="ensemble")
    assert (
        len([caution for caution in said if "stitched models gains −0.0150 (−0.0200 to −0.0100)" in caution]) == n_said
    )


def test_truncated_rows_are_a_caution() -> None:
    truncated = {**unit(0), "n_truncated": 30}
    assert (
        "roberta reads 15.0 % of its rows truncated"
        in cautions(task_scores(), units={"roberta": [truncated]}, submitted="ensemble")[0]
    )


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("classes", {"a": 1000, "b": 3}, "1,000 training rows of 'a', 3 of 'b'"),
        ("label_variants", [["Joy", "joy"]], "'Joy' = 'joy'"),
        ("duplicates", {"exact_rows": 0, "near_rows": 4, "clusters": 2}, "4 more nearly do"),
        ("conflicting_labels", {"texts": 6, "rows": 12}, "6 training texts"),
        ("empty_texts", {"train": {"count": 1}, "test": {"count": 2}}, "3 rows have nothing to read"),
    ],
)
def test_what_the_audit_found_is_a_caution(part: str, value: Any, said: str) -> None:
    texts = data_cautions({**task_audit(), part: value})
    assert len(texts) == 1 and re.search(said, texts[0])


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        (
            "overlap",
            {"test_texts_in_train": 2, "test_near_duplicates_in_train": 6},
            r"6 test rows \(5.0 %\) nearly equal a training row, 2 of them exactly",
        ),
        (
            "test_likeness",
            {
                "auc": 0.741, "low": 0.7, "high": 0.78, "shifted": True,
                "telling": [{"word": "covid", "train": 0.001, "test": 0.352}],
            },
            r"AUC 0.74 \(0.70 to 0.78\).*'covid' \(in 0.1 % of training, 35.2 % of test texts\).*"
            r"out-of-fold scores are those of other rows: set folds.score_where: test_like.*gives them away",
        ),
    ],
)  # fmt: skip
def test_a_test_file_unlike_the_training_file_is_a_caution(part: str, value: Any, said: str) -> None:
    assert premise_cautions(task_scores(), task_audit()) == []
    texts = premise_cautions(task_scores(), {**task_audit(), part: value})
    assert len(texts) == 1 and re.search(said, texts[0])
    values = everything()
    values["audit"]["main"][part] |= value
    assert texts[0][:30] in page(values)


def test_what_would_be_expected_of_rows_that_count_alike_stands_beside_what_rests_on_weights() -> None:
    scores = task_scores()
    scores["estimate"]["unweighted"] = {"expected": 0.74, "test_low": 0.7, "test_high": None}
    scores["effective_rows"] = 123.4
    [said] = premise_cautions(scores, task_audit())
    assert "worth 123 rows" in said
    assert "without that it would be 0.7400 (0.7000 to –). It holds if texts that are alike have like labels" in said


def test_labels_predicted_in_other_shares_are_a_caution_where_that_is_no_chance_and_not_little() -> None:
    shares = {"a": [0.5, 0.61], "b": [0.3, 0.2], "c": [0.2, 0.19]}
    shift = {"p_value": 0.00021, "labels": shares}
    [said] = premise_cautions({**task_scores(), "label_shift": shift}, task_audit())
    assert "'a' 61.0 %, not 50.0 %, 'b' 20.0 %, not 30.0 % (by chance: p = 0.0002)" in said and "'c'" not in said
    assert premise_cautions({**task_scores(), "label_shift": {**shift, "p_value": 0.02}}, task_audit()) == []
    little = {"p_value": 1e-9, "labels": {"a": [0.5, 0.51], "b": [0.5, 0.49]}}
    assert premise_cautions({**task_scores(), "label_shift": little}, task_audit()) == []


def test_figures_take_their_colours_from_the_page() -> None:
    svg = intervals([Estimate("a", 0.5, 0.4, 0.6, strong=True)], label="f1", title="t", reference=0.3)
    assert "var(--strong)" in svg and "var(--ink)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg.replace("url(#", ""))


def test_a_name_in_a_figure_is_no_formula() -> None:
    assert "$a_1$ 中文&lt;b&gt;" in intervals([Estimate("$a_1$ 中文<b>", 0.5, 0.4, 0.6)], label="f1", title="t")


def test_names_in_a_figure_keep_what_tells_them_apart() -> None:
    pair = "bert-base-multilingual+deberta-v3-large"
    names = {short(f"{pair}+{head}") for head in ("cnn", "lstm")} | {short("x" * 99)}
    assert len(names) == 3 and max(len(name) for name in names) == 32
    assert short("bert+electra+cnn") == "bert+electra+cnn"
    assert len(short("+" * 99)) == 99  # nothing left to cut


def test_a_figure_of_nothing_is_nothing() -> None:
    assert intervals([], label="f1", title="t") == ""


def test_thinning_keeps_the_mean() -> None:
    values = [float(step % 7) for step in range(1200)]
    thinned = thin(values, n_points=100)
    assert len(thinned) == 100
    assert sum(thinned) / 100 == pytest.approx(sum(values) / 1200)


def test_learning_curves_have_a_line_per_step() -> None:
    lines = learning_curves_csv({"roberta": {"units": [unit(0), unit(1)]}}).splitlines()
    assert len(lines) == 1 + 2 * 19
    assert lines[20].startswith("roberta,main,0,1,1,1.00")


def test_calibration_without_rows_has_no_error() -> None:
    assert calibration_error([{"confidence": None, "accuracy": None, "rows": 0}]) is None


def test_params_keep_their_order_and_components_their_options() -> None:
    value = {"b": {"kind": "losses", "name": "focal", "options": {"gamma": 2.0}}, "a": ["高兴", None]}
    assert as_yaml(value) == "b:\n  name: focal\n  gamma: 2.0\na:\n- 高兴\n- null\n"


def with_copies(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with a step of augmentation and a table of what pays."""
    example = {"row_id": "r1", "augmenter": "keyboard", "source": "a fire", "variant": "a fure", "edit_distance": 1}
    step = {
        "name": "keyboard", "n_rows": 9, "n_made": 8, "n_kept": 6, "mean_edit_distance": 1.5,
        "dropped": {"equals another copy": 2}, "failed": [{"row_id": "r7", "error": "no such key"}],
        "examples": [{**example, "similarity": 0.9, "dropped": None}],
    }  # fmt: skip
    row = {"variant": "no copies", "score": 0.7, "low": 0.6, "high": 0.8, "difference": 0.0, "difference_low": 0.0}
    row |= {"difference_high": 0.0, "standard_error": 0.0, "n_copies": 0}
    other = {
        **row,
        "variant": "keyboard",
        "difference": 0.02,
        "standard_error": 0.011,
        "n_copies": 6,
        "beyond_chance": True,
    }
    table = {
        "metric": "accuracy",
        "reference": "no copies",
        "rows": [row, other],
        "note": "Bert.",
        "date": "2026-11-21",
    }
    values["augmentation"] = {"steps": [step], "barred": {"nearly equals a row of the fold": 3}, "n_unlabelled": 0}
    values["ablations"] = {"main": {"augment": table}}
    return values


def test_copies_stand_beside_their_rows_and_what_pays_is_shown(values: dict[str, Any]) -> None:
    html = section(page(with_copies(values)), "augmentation")
    assert "keyboard 9 8 6 1.5000 2 equals another copy 1" in html
    assert "r1 keyboard a fire a fure 1 0.9000 –" in html
    assert "3 (nearly equals a row of the fold)" in html and "r7 no such key" in html
    assert "keyboard 0.7000 0.6000 to 0.8000 +0.0200 * 0.0110" in html


@pytest.mark.parametrize("where", ["source", "variant", "row_id"])
def test_markup_in_copies_is_shown_as_text(values: dict[str, Any], where: str) -> None:
    with_copies(values)["augmentation"]["steps"][0]["examples"][0][where] = "<script>alert(1)</script>"
    assert "<script" not in page(values)


def test_without_copies_there_is_no_such_section(whole_page: str) -> None:
    assert 'id="augmentation"' not in whole_page


def test_a_further_pre_training_shows_whose_texts_it_saw_and_how_it_went(
    values: dict[str, Any], whole_page: str
) -> None:
    scores = [{"loss": 3.0, "perplexity": 20.1, "accuracy": 0.25}, {"loss": 2.0, "perplexity": 7.4, "accuracy": 0.5}]
    record = {
        "name": "all", "key": "k", "seen": {"texts": {"tasks": 1200, "<b>": 3}, "transductive": False, "per_fold": False},
        "n_texts": 1100, "n_held_out": 100, "n_rows": 1200, "notes": ["the head is new"], "scores": scores, "kept_epoch": 0,
        "steps": [{"step": step, "epoch": 0, "loss": 3.0 / step, "learning_rate": 0.1} for step in (1, 2, 3)],
        "epochs": [], "rollbacks": [], "token_budget": 1, "n_tokens": 1, "seconds": 61.0,
    }  # fmt: skip
    values["histories"]["roberta"]["pretraining"] = [record]
    shown = section(page(values), "pretraining")
    for said in ("1,200 of tasks, 3 of &lt;b&gt; (no test texts; texts of all folds); the head is new", "20.1 7.4"):
        assert said in shown
    assert 'id="pretraining"' not in whole_page
