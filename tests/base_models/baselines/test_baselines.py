"""Every baseline found in its folder: the contract, and what TF-IDF with logistic regression must manage."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import components
from pipeline.base_models.baselines import tfidf_logistic

BASELINES = [name for name in components.available("baselines") if components.fits("baselines", name, "class")]
OF_NUMBERS = [name for name in components.available("baselines") if components.fits("baselines", name, "number")]
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "word0",
    "word2",
    "今天",
    "天气",
    "很",
    "好",
    "a",
    "!",
    "[",
]


@cache
def options_of(name: str) -> dict[str, Any]:
    """Return the options that a baseline cannot do without: a file of random vectors, if it reads one."""
    if "path" not in components.options("baselines", name):
        return {}
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 12)).round(3)
    file = Path(tempfile.mkdtemp()) / "vectors.txt"
    lines = [f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(WORDS, vectors, strict=True)]
    file.write_text("".join(lines), encoding="utf-8")
    return {"path": str(file)}


CHEERFUL, GLOOMY = "what a bright fine sunny day", "such dark cold heavy rain"


def rows_of(texts: list[str | None], pairs: list[str | None] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "text_pair": pairs or [None] * len(texts)}, dtype=object)


def small_competition(n_rows: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    labels = np.random.default_rng(0).integers(0, 3, n_rows)
    words = ["alpha beta gamma", "delta epsilon zeta", "今天天气很好"]
    return rows_of([f"{words[label]} noise{number % 7}" for number, label in enumerate(labels)]), labels


@pytest.mark.parametrize("name", BASELINES)
def test_probabilities_are_above_zero_and_sum_to_one(name: str) -> None:
    rows, labels = small_competition()
    model = components.build("baselines", name, options_of(name), n_outputs=3, seed=1)
    model.fit(rows[:40], labels[:40])
    values = model.predict(rows[40:])
    assert values.shape == (20, 3)
    np.testing.assert_allclose(values.sum(axis=1), 1)
    assert (values.argmax(axis=1) == labels[40:]).all()


def test_several_labels_of_a_row_each_have_a_model_and_one_that_no_row_has_stays_unlikely() -> None:
    rows, labels = small_competition()
    targets = np.stack([labels == 0, labels != 1, labels == 5], axis=1).astype(np.int64)
    model = tfidf_logistic.build(n_outputs=3, seed=1)
    model.fit(rows[:40], targets[:40])
    values = model.predict(rows[40:])
    assert ((values[:, :2] > 0.5) == targets[40:, :2]).all()
    assert values.min() > 0 and values[:, 2].max() < 1e-4


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    rows, labels = small_competition()
    made = []
    for _ in range(2):
        model = components.build("baselines", name, options_of(name), n_outputs=3, seed=1)
        model.fit(rows, labels)
        made.append(model.predict(rows).tobytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("name", BASELINES)
def test_D15_I10_labels_absent_when_fitting_get_a_small_finite_probability(name: str) -> None:
    """A label that no training row had keeps its column, small and finite."""
    rows, labels = small_competition()
    model = components.build("baselines", name, options_of(name), n_outputs=5, seed=1)
    model.fit(rows[labels != 1], labels[labels != 1])
    values = model.predict(rows)
    assert values.shape == (60, 5)
    assert values.min() > 0
    assert values[:, [1, 3, 4]].max() < 1e-4


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("present", [[2], [0, 2]])
def test_few_labels_and_tiny_data_work(name: str, present: list[int]) -> None:
    model = components.build("baselines", name, options_of(name), n_outputs=3, seed=1)
    model.fit(rows_of([f"word{label}" for label in present]), np.array(present))
    values = model.predict(rows_of(["", "word2", None, "never seen"]))
    assert np.isfinite(values).all()
    assert values[1].argmax() == 2


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    "texts", [["", "", " ", None], ["👍", "!", "…", "a"], ["[MASK]", "\n", "\u200b", "x" * 200_000]]
)
def test_D11_D12_D14_strange_texts_give_finite_values(name: str, texts: list[str | None]) -> None:
    """Empty, blank, zero-width, one-character and very long texts, and special tokens as text, give finite probabilities."""
    model = components.build("baselines", name, options_of(name), n_outputs=2, seed=1)
    model.fit(rows_of(texts), np.array([0, 1, 0, 1]))
    assert (model.predict(rows_of(texts)) > 0).all()
    assert model.predict(rows_of(texts).iloc[:0]).shape == (0, 2)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_of_each_column_are_learned_from_the_rows_in_which_they_are_known(name: str) -> None:
    rows, labels = small_competition()
    targets = np.stack([100.0 + 10 * labels, -1.0 * (labels == 2), np.full(60, np.nan)], axis=1)
    targets[::3, 1] = np.nan
    model = components.build("baselines", name, {"penalty": 0.1}, n_outputs=3, seed=1)
    model.fit(rows[:40], targets[:40])
    values = model.predict(rows[40:])
    assert values.shape == (20, 3)
    assert np.abs(values[:, 0] - 100 - 10 * labels[40:]).max() < 2
    assert np.abs(values[:, 1] + (labels[40:] == 2)).max() < 0.2 and not values[:, 2].any()
    single = np.vstack([model.predict(rows.iloc[[place]]) for place in range(40, 45)])
    np.testing.assert_allclose(single, values[:5])
    again = components.build("baselines", name, {"penalty": 0.1}, n_outputs=3, seed=1)
    again.fit(rows[:40], targets[:40])
    assert np.array_equal(again.predict(rows[40:]), values)
    assert model.predict(rows.iloc[:0]).shape == (0, 3)
    strange = rows_of(["", "👍", None, "x" * 100_000])
    assert np.isfinite(model.predict(strange)).all()
    model.fit(strange, targets[:4])
    assert np.isfinite(model.predict(rows)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_one_by_one_equals_batched(name: str) -> None:
    rows, labels = small_competition()
    model = components.build("baselines", name, options_of(name), n_outputs=3, seed=1)
    model.fit(rows, labels)
    single = np.vstack([model.predict(rows.iloc[[position]]) for position in range(10)])
    np.testing.assert_allclose(single, model.predict(rows)[:10], rtol=1e-6)


@pytest.mark.parametrize(("first", "second"), [("red green blue", "one two three"), ("红色绿色蓝色", "一二三四五六")])
def test_a_pair_is_judged_by_how_its_texts_overlap(first: str, second: str) -> None:
    rng = np.random.default_rng(0)
    letters = [list(first), list(second)]
    texts, pairs, labels = [], [], []
    for number in range(200):
        label = number % 2
        text = "".join(rng.permutation(letters[rng.integers(2)]))
        other = letters[0] if set(text) <= set(letters[1]) else letters[1]
        texts.append(text)
        pairs.append(text if label else "".join(rng.permutation(other)))
        labels.append(label)
    model = tfidf_logistic.build(n_outputs=2, seed=0)
    model.fit(rows_of(texts[:150], pairs[:150]), np.array(labels[:150]))
    guesses = model.predict(rows_of(texts[150:], pairs[150:])).argmax(axis=1)
    assert (guesses == labels[150:]).mean() > 0.95


def test_a_pair_is_missing_only_in_some_rows() -> None:
    model = tfidf_logistic.build(n_outputs=2, seed=0)
    rows = rows_of([CHEERFUL, GLOOMY] * 4, [CHEERFUL, None] * 4)
    model.fit(rows, np.array([0, 1] * 4))
    assert model.predict(rows).argmax(axis=1).tolist() == [0, 1] * 4


def test_balanced_weights_raise_the_rare_label() -> None:
    rows = rows_of([CHEERFUL] * 18 + [GLOOMY] * 2 + [CHEERFUL + " " + GLOOMY])
    labels = np.array([0] * 18 + [1] * 3)
    values = []
    for weight in (None, "balanced"):
        model = tfidf_logistic.build(n_outputs=2, seed=0, class_weight=weight)  # type: ignore[arg-type]
        model.fit(rows, labels)
        values.append(model.predict(rows)[0, 1])
    assert values[1] > values[0]


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not Path("data/disaster_tweets/train.csv").is_file(), reason="data/disaster_tweets is not here")
def test_it_reaches_the_known_accuracy_on_disaster_tweets() -> None:
    from sklearn.model_selection import StratifiedKFold

    data = pd.read_csv("data/disaster_tweets/train.csv", dtype=str, keep_default_na=False)
    rows, labels = rows_of(data["text"].tolist()), data["target"].astype(int).to_numpy()
    train, scored = next(StratifiedKFold(5, shuffle=True, random_state=0).split(rows, labels))
    model = tfidf_logistic.build(n_outputs=2, seed=0)
    model.fit(rows.iloc[train], labels[train])
    accuracy = (model.predict(rows.iloc[scored]).argmax(axis=1) == labels[scored]).mean()
    assert 0.78 < accuracy < 0.84


def test_D13_words_with_combining_marks_are_features_as_they_are() -> None:
    """TF-IDF counts words of scripts with combining marks whole."""
    model = components.build("baselines", "tfidf_logistic", n_outputs=2, seed=0)
    model.fit(rows_of(["हिन्दी में", "می\u200cخواهم x²"] * 4), np.array([0, 1] * 4))
    words = model.features.vectorizers["text"][0].get_feature_names_out()
    assert {"हिन्दी", "में", "می\u200cخواهم", "x²"} == {word for word in words if " " not in word}


@pytest.mark.parametrize("targets", ["two", "three", "several", "one", "numbers"])
@pytest.mark.parametrize("pairs", [False, True])
def test_what_was_fitted_is_saved_as_json_and_arrays_and_predicts_the_same(targets: str, pairs: bool) -> None:
    rows, labels = small_competition()
    rows["text_pair"] = rows["text"].iloc[::-1].tolist() if pairs else None
    of_targets = {
        "two": labels % 2, "three": labels, "one": labels * 0, "numbers": np.stack([labels / 3, labels * np.nan], 1),
        "several": np.stack([labels == 0, labels != 1, labels == 5, labels < 5], axis=1).astype(np.int64),
    }  # fmt: skip
    values = of_targets[targets]
    for name in OF_NUMBERS if targets == "numbers" else BASELINES:
        options = {"n_outputs": values.shape[1] if values.ndim == 2 else 3, "seed": 1}
        model, other = (components.build("baselines", name, options_of(name), **options) for _ in range(2))
        model.fit(rows[:40], values[:40])
        fitted, arrays = model.state()
        other.load_state(json.loads(json.dumps(fitted)), arrays)
        np.testing.assert_array_equal(model.predict(rows[40:]), other.predict(rows[40:]))
        assert other.predict(rows[:0]).shape == (0, options["n_outputs"] if targets != "numbers" else 2)
