"""The report's part on stitched models: there with them and gone without, every number the one in scores.json."""

from typing import Any

import pytest

from pipeline.report.stitch_section import describe, grids
from tests.report.test_reporting import SCRIPT, elements, everything, gain_of, page, section, unit

PARENTS = {"bert": 0.7012, "electra": 0.6987, "roberta": 0.7234}
SCORES = {("bert", "electra"): 0.7311, ("bert", "roberta"): 0.7402, ("electra", "roberta"): 0.7222}


def stitched(pair: tuple[str, ...], head: str, score: float) -> dict[str, Any]:
    """Return a stitched model as scores.json has it."""
    over = max(pair, key=lambda name: PARENTS[name])
    return {
        "name": "+".join([*pair, head]),
        "encoders": list(pair),
        "head": head,
        "score": score,
        "low": score - 0.02,
        "high": score + 0.02,
        "parents": {name: PARENTS[name] for name in pair},
        "gain": {"over": over, **gain_of(score - PARENTS[over])},
        "error_correlation": {name: 0.5 + number / 10 for number, name in enumerate(pair)},
        "adds": gain_of(0.0021),
    }


def ensemble(n_models: int, score: float) -> dict[str, Any]:
    """Return one of the two ensembles as scores.json has it."""
    split = {"score": score, "low": score - 0.01, "high": score + 0.01}
    return {"n_models": n_models, "chosen": "mean", "oof": split, "holdout": split}


def stitched_unit(fold: int, encoders: list[str]) -> dict[str, Any]:
    """Return the record of one trained fold of a stitched model."""
    kept = {key: value for key, value in unit(fold).items() if key not in ("tokens_per_second", "n_truncated")}
    return {**kept, "encoders": encoders, "features": "cache", "n_tokens": 999, "token_budget": 8192}


def with_stitched() -> dict[str, Any]:
    """Return all that a page with stitched models is made of."""
    values = everything()
    models = [stitched(pair, "cnn", score) for pair, score in SCORES.items()]
    values["scores"]["tasks"]["main"]["stitching"] = {
        "with_pairs": ensemble(6, 0.7512),
        "without_pairs": ensemble(3, 0.7401),
        "difference": {"test": gain_of(0.0111), "holdout": gain_of(0.0222)},
        "leave_one_out": "greedy",
        "models": models,
    }
    values["stitched"] = {
        model["name"]: {"units": [stitched_unit(0, model["encoders"]), stitched_unit(1, model["encoders"][::-1])]}
        for model in models
    }
    row = {"variant": "train", "score": 0.71, "low": 0.7, "high": 0.72, "difference": 0.0, "n_models": 3}
    row |= {"difference_low": 0.0, "difference_high": 0.0, "standard_error": 0.005}
    other = {
        **row,
        "variant": "noised",
        "score": 0.73,
        "difference": 0.02,
        "difference_low": 0.01,
        "difference_high": 0.03,
    }
    values["ablations"] = {
        "main": {
            "stitch": {
                "task": "main",
                "metric": "f1_macro",
                "rows": [row, other],
                "date": "2026-11-21",
                "reference": "train",
                "note": "Means over models.",
            }
        }
    }
    return values


@pytest.fixture
def values() -> dict[str, Any]:
    """All that a page with stitched models is made of, to be changed by a test."""
    return with_stitched()


@pytest.fixture(scope="module")
def whole_page() -> str:
    """The page of unchanged values."""
    return page(with_stitched())


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("headline", "+0.0111 (+0.0071 to +0.0151) on the test rows +0.0222 (+0.0182 to +0.0262) on the hold-out"),
        ("stitched", "with them 0.7512 (0.7412 to 0.7612), hold-out 0.7512 (0.7412 to 0.7612); 6 models, mean"),
        ("stitched", "without them 0.7401 (0.7301 to 0.7501), hold-out 0.7401 (0.7301 to 0.7501); 3 models, mean"),
        ("stitched", "Gain, expected on the test rows +0.0111 (+0.0071 to +0.0151)"),
        ("stitched", "Gain, untouched hold-out +0.0222 (+0.0182 to +0.0262), 57 rows"),
        ("stitched", "bert+ roberta+ cnn 0.7402 0.7202 to 0.7602 bert roberta 0.7012 0.7234 0.50 0.60 +0.0168 +0.0128"),
        ("stitched", "0.50 0.60 +0.0168 +0.0128 to +0.0208 +0.0021 −0.0019 to +0.0061"),
        ("stitched", "cross-fitted greedy of all members"),
        ("stitched", "electra 0.7311 0.6987 0.7222"),
        ("stitched", "bert+roberta+cnn bert 1, roberta 1 cache 2 min 30 s 0.9548 0.4567"),
        ("stitched", "bert+roberta+cnn 0 1 roberta, bert 0.4567 – 200 1 min 15 s 111111111111"),
        ("stitched", "noised 0.7300 0.7000 to 0.7200 +0.0200 0.0050 +0.0100 to +0.0300 3"),
        ("stitched", "train 0.7100 0.7000 to 0.7200 – – – 3"),
        ("stitched", "Means over models. Tried on 2026-11-21"),
        ("ran", "3 stitched models 6 1,200 – 7 min 30 s –"),
        ("made", "Numerics of stitched models device cpu, threads 1, transformers 5.0.0"),
    ],
)  # fmt: skip
def test_numbers_shown_are_the_numbers_given(whole_page: str, where: str, shown: str) -> None:
    assert shown in section(whole_page, where)


def test_stitched_models_stand_best_first_and_their_curves_stay_away(whole_page: str) -> None:
    html = whole_page
    names = ["bert+ roberta+ cnn 0.7402", "bert+ electra+ cnn 0.7311", "electra+ roberta+ cnn 0.7222"]
    places = [section(html, "stitched").index(name) for name in names]
    assert places == sorted(places)
    assert "roberta" in section(html, "curves") and "cnn" not in section(html, "curves")


def test_references_have_targets_and_nothing_is_loaded(whole_page: str) -> None:
    tags = elements(whole_page)
    assert len(tags.ids) == len(set(tags.ids)) and "stitched" in tags.ids
    assert {reference.removeprefix("#") for reference in tags.references} <= set(tags.ids)
    assert "#stitched" in tags.references


def test_without_stitched_models_the_page_does_not_speak_of_them() -> None:
    assert "stitched" not in page(everything()).lower()


@pytest.mark.parametrize("holdout", [True, False])
def test_the_hold_out_is_shown_where_there_is_one(values: dict[str, Any], holdout: bool) -> None:
    scores = values["scores"]["tasks"]["main"]
    if not holdout:
        scores["holdout"] = scores["stitching"]["difference"]["holdout"] = None
        scores["stitching"]["with_pairs"]["holdout"] = scores["stitching"]["without_pairs"]["holdout"] = None
    html = page(values)
    assert ("hold-out" in section(html, "stitched")) == ("hold-out" in section(html, "headline")) == holdout


def test_stitched_members_alone_have_no_ensemble_to_compare_with(values: dict[str, Any]) -> None:
    stitching = values["scores"]["tasks"]["main"]["stitching"]
    stitching.update(without_pairs=None, difference=None)
    for model in stitching["models"]:
        model.update(adds=None, gain={"over": "bert", **gain_of(None)})
    html = page(values)
    assert "All members are stitched" in section(html, "stitched") and "by stitched models" not in html
    assert "0.50 0.60 – – to – –" in section(html, "stitched")


def test_an_ablation_is_shown_also_where_no_stitched_model_is_a_member(values: dict[str, Any]) -> None:
    values["scores"]["tasks"]["main"]["stitching"] = None
    for row in values["ablations"]["main"]["stitch"]["rows"]:
        del row["n_models"]
    html = section(page(values), "stitched")
    assert "No stitched model is a member" in html and "noised 0.7300" in html and "Models" not in html


def test_a_pair_of_two_encoders_needs_no_table_of_pairs(values: dict[str, Any]) -> None:
    stitching = values["scores"]["tasks"]["main"]["stitching"]
    stitching["models"] = stitching["models"][:1]
    html = page(values)
    assert "bert+ electra+ cnn 0.7311" in section(html, "stitched") and "Pairs by head" not in html


def test_pairs_that_folds_chose_are_counted(values: dict[str, Any]) -> None:
    scores = values["scores"]["tasks"]["main"]
    model = stitched(("bert", "electra", "roberta"), "cnn", 0.73) | {"name": "best1+cnn"}
    scores["stitching"]["models"] = [model]
    chosen = [["bert", "electra"], ["electra", "bert"], ["roberta", "bert"]]
    values["stitched"] = {"best1+cnn": {"units": [stitched_unit(fold, pair) for fold, pair in enumerate(chosen)]}}
    html = section(page(values), "stitched")
    assert "best1+cnn bert 1, electra 1, roberta 1 bert + electra 2, bert + roberta 1 cache" in html
    assert "Pairs by head" not in html


@pytest.mark.parametrize("where", ["name", "encoder", "variant", "note"])
def test_markup_in_names_is_shown_as_text(values: dict[str, Any], where: str) -> None:
    model = values["scores"]["tasks"]["main"]["stitching"]["models"][0]
    tried = values["ablations"]["main"]["stitch"]
    if where == "name":
        values["stitched"][SCRIPT] = values["stitched"].pop(model["name"])
        model["name"] = SCRIPT
    elif where == "encoder":
        model["encoders"][0] = SCRIPT
        model["parents"][SCRIPT], model["error_correlation"][SCRIPT] = 0.7, 0.5
        values["stitched"][model["name"]]["units"][0]["encoders"] = [SCRIPT]
    elif where == "variant":
        tried["rows"][1]["variant"] = SCRIPT
    else:
        tried["note"] = SCRIPT
    html = page(values)
    assert "script" not in elements(html).names and "&lt;script&gt;" in html


def test_twenty_models_give_a_page_with_one_line_each(values: dict[str, Any]) -> None:
    stitching = values["scores"]["tasks"]["main"]["stitching"]
    heads = [f"head{number}" for number in range(20)]
    stitching["models"] = [stitched(("bert", "electra"), head, 0.73) for head in heads]
    values["stitched"] = {
        record["name"]: {"units": [stitched_unit(0, record["encoders"])]} for record in stitching["models"]
    }
    html = section(page(values), "stitched")
    assert all(html.count(f"bert+ electra+ {head} ") == 1 for head in heads)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_table_of_pairs_is_symmetric_and_shades_what_is_good(sign: int) -> None:
    models = [stitched(pair, "cnn", sign * score) for pair, score in SCORES.items()]
    for model in models:
        model["parents"] = {name: sign * score for name, score in model["parents"].items()}
    (table,) = grids(models, sign=sign)
    cells = [row["cells"] for row in table["rows"]]
    assert table["encoders"] == ["bert", "electra", "roberta"]
    assert [[abs(cell["score"]) for cell in row] for row in cells] == [
        [0.7012, 0.7311, 0.7402], [0.7311, 0.6987, 0.7222], [0.7402, 0.7222, 0.7234],
    ]  # fmt: skip
    assert (cells[0][2]["share"], cells[1][1]["share"]) == (1, 0)
    assert 0 < cells[0][1]["share"] < 1


def test_a_pair_listed_the_other_way_round_and_one_without_a_score_have_their_cells() -> None:
    models = [stitched(pair[::-1], "cnn", score) for pair, score in SCORES.items()]
    for model in models:
        model["encoders"].sort()  # as scores.json has them, in the order of params
    models[0]["score"] = None
    (table,) = grids(models, sign=1)
    assert table["rows"][0]["cells"][1] is None and table["rows"][2]["cells"][0]["score"] == 0.7402


def test_a_task_without_stitched_members_is_not_described() -> None:
    assert describe("main", {"stitching": None}, {}) is None
