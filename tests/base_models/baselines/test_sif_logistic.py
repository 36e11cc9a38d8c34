"""Sentence embeddings as the paper has them, from the vectors of a file, and what becomes of a change of that file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.base_models.baselines.sif_logistic import SentenceEmbeddings, build
from pipeline.errors.exceptions import ParamsError
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import stage_recipe
from tests.conftest import PARAMS

FILE = "the 1 0 0\ncat 0 2 0\ndog 0 0 2\nowl 1 1 1\n"
TEXTS = ["the cat", "the dog", "The cat, unknown the", ""]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "vectors.txt").write_text(FILE, encoding="utf-8")
    return str(tmp_path / "vectors.txt")


def rows_of(texts: list[str], pairs: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "text_pair": pairs or [None] * len(texts)}, dtype=object)


def embeddings(path: str, **options: Any) -> SentenceEmbeddings:
    return SentenceEmbeddings(path, None, **{"max_words": 9, "smoothing": 0.1, "n_removed": 1, **options})


@pytest.mark.parametrize("n_removed", [0, 1, 2])
def test_a_text_is_the_weighted_mean_of_its_known_words_without_the_main_directions(file: str, n_removed: int) -> None:
    fitted = embeddings(file, n_removed=n_removed).fit(rows_of(TEXTS))
    # Of seven known words four are `the`, two `cat`, one `dog`.
    the, cat, dog = (0.1 / (0.1 + share) * np.array(vector) for share, vector in WEIGHED)
    means = np.array([(the + cat) / 2, (the + dog) / 2, (2 * the + cat) / 3, 0 * the])
    directions = np.linalg.svd(means, full_matrices=False)[2][:n_removed]
    expected = means - means @ directions.T @ directions
    deviation = expected.std(axis=0)
    scaled = (expected - expected.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    np.testing.assert_allclose(fitted.transform(rows_of(TEXTS)), scaled, atol=1e-5)


WEIGHED = [(4 / 7, (1, 0, 0)), (2 / 7, (0, 2, 0)), (1 / 7, (0, 0, 2))]


def test_a_word_that_no_fitted_row_has_weighs_most_and_rows_to_predict_change_nothing(file: str) -> None:
    fitted = embeddings(file).fit(rows_of(TEXTS))
    before = {name: array.copy() for name, array in fitted.state()[1].items()}
    assert fitted.transform(rows_of(["owl", "owl owl the"])).shape == (2, 3)
    assert all(np.array_equal(array, before[name]) for name, array in fitted.state()[1].items())
    assert fitted.vectors[fitted.tokenizer.vocabulary.index("owl")].tolist() == [1, 1, 1]


def test_pairs_are_judged_by_how_their_texts_differ(file: str) -> None:
    """Whether both speak of the same animal: no single text says that."""
    texts, pairs = (["the cat", "the dog"] * 20, (["a cat"] * 2 + ["dog dog"] * 2) * 10)
    labels = np.array([("cat" in text) == ("cat" in pair) for text, pair in zip(texts, pairs, strict=True)]).astype(int)
    model = build(n_outputs=2, seed=0, path=file, n_removed=0)
    model.fit(rows_of(texts, pairs), labels)
    assert (model.predict(rows_of(texts, pairs)).argmax(axis=1) == labels).all()
    assert np.isfinite(model.predict(rows_of(["the cat", ""], [None, "dog"]))).all()  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("texts", "content", "message"),
    [
        (["xyz abc"], FILE, "must know words of the texts, got none of 2. Take vectors of their language"),
        (["the"], "", "must know words of the texts, got none of 1"),
        (["the"], "the 1 2\ncat 1\n", "vectors.txt:2: must hold a word and 2 numbers, got 1 after the word"),
        (["the"], None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_use_is_told(texts: list[str], content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        embeddings(str(path)).fit(rows_of(texts))


def params(baselines: str) -> Params:
    path = Path("params.yaml")
    path.write_text(PARAMS.replace("{tfidf: tfidf_logistic}", baselines), encoding="utf-8")
    return load_params(path)


def test_another_file_is_another_baseline_and_leaves_the_others_as_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/tiny").mkdir(parents=True)
    for name in ("train", "test", "sample_submission"):
        Path(f"data/tiny/{name}.csv").touch()
    for refused, message in {
        "{sif: sif_logistic}": "path",
        "{sif: {name: sif_logistic, path: models/v.txt}}": "baselines.sif: sif_logistic: path: no such file: models/v.txt",
        "{sif: {name: sif_logistic, path: v.txt}}": "path must lie in models/, which DVC watches, got v.txt",
    }.items():
        with pytest.raises(ParamsError, match=message):
            params(refused)
    Path("models").mkdir()
    units = []
    for content in (FILE, FILE.replace("2", "3")):
        Path("models/v.txt").write_text(content, encoding="utf-8")
        with_both = params("{tfidf: tfidf_logistic, sif: {name: sif_logistic, path: models/v.txt}}")
        units.append(stage_recipe(with_both, "baseline")["units"])
    alone = stage_recipe(params("{tfidf: tfidf_logistic}"), "baseline")["units"]
    assert units[0]["sif"] != units[1]["sif"]
    assert {of_file["tfidf"] for of_file in units} == {alone["tfidf"]}
