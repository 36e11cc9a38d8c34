"""A classifier of test against training texts: TF-IDF of words and characters, logistic regression, cross-fitted."""

import re
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from threadpoolctl import threadpool_limits

from pipeline.artifacts.likeness import TellingWord
from pipeline.text.words import BLANK, HAN

EXCERPT = 500  # characters of a text that are read, besides its length
CHUNK_ROWS = 20_000
INVERSE_PENALTY = 0.3  # of 0.01 to 100 that by which weights made training texts most like test texts
MOST_ITERATIONS = 100
N_TELLING = 5
STANDARD_ERRORS = 4.0  # of thousands of words a few differ by three by chance
WORDS: dict[str, Any] = {"ngram_range": (1, 2), "tokenizer": BLANK.findall, "token_pattern": None, "lowercase": False}
CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (2, 3), "lowercase": False}


class Reader:
    """Texts to sparse features: TF-IDF of words and of characters, and the length."""

    def __init__(self) -> None:
        """Know no text yet."""
        self.views: list[Any] = []

    def fit(self, texts: pa.Array) -> bool:
        """Learn the n-grams of texts; return whether there are any that two texts share."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        for options in (WORDS, CHARACTERS):
            view = TfidfVectorizer(**options, min_df=2, sublinear_tf=True, dtype=np.float32)
            with suppress(ValueError):  # there are none
                self.views.append(view.fit(excerpts(texts)))
        return bool(self.views)

    def read(self, texts: pa.Array) -> sparse.csr_matrix:
        """Return the features of texts, (N, features)."""
        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        columns = [sparse.csr_matrix(np.log1p(lengths, dtype=np.float32).reshape(-1, 1) / 10)]
        return sparse.hstack([*columns, *(view.transform(excerpts(texts)) for view in self.views)], format="csr")


def excerpts(texts: pa.Array) -> list[str]:
    """Return the beginnings of texts."""
    begun: list[str] = pc.utf8_slice_codeunits(texts, 0, EXCERPT).to_pylist()
    return begun


def cross_fitted_scores(
    texts: pa.Array, is_test: np.ndarray, fold: np.ndarray, *, fitted: np.ndarray
) -> np.ndarray | None:
    """Return how much each text is like a test text, float64 (N,), None where no two texts share anything.

    Args:
        texts: of all rows, (N,).
        is_test: bool (N,).
        fold: of each row, from 0; its model is fitted on the other folds.
        fitted: the places of the rows to fit on; each fold must lack some of either file.
    """
    from sklearn.linear_model import LogisticRegression

    reader = Reader()
    if not reader.fit(texts.take(pa.array(fitted))):
        return None
    features, models = reader.read(texts.take(pa.array(fitted))), []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # to stop before convergence is a choice here
        for number in range(fold.max() + 1):
            others = fold[fitted] != number
            model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=MOST_ITERATIONS)
            models.append(model.fit(features[others], is_test[fitted][others]))
    scores = np.empty(len(texts))
    for start in range(0, len(texts), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        features = reader.read(texts[part])
        by_model = np.stack([model.decision_function(features) for model in models])
        scores[part] = by_model[fold[part], np.arange(features.shape[0])]
    return scores


def telling_words(texts: pa.Array, is_test: np.ndarray) -> list[TellingWord]:
    """Return the words, and twos of words, whose shares of both files' texts differ most surely, none twice."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(**WORDS, binary=True)
    stands = counter.fit_transform(excerpts(texts))
    train, test = (np.asarray(stands[side].mean(axis=0)).ravel() for side in (~is_test, is_test))
    both = np.asarray(stands.mean(axis=0)).ravel()
    errors = np.sqrt(both * (1 - both) * (1 / is_test.sum() + 1 / (~is_test).sum())) + 1 / len(is_test)
    sureness = np.abs(test - train) / errors
    words, told, seen = counter.get_feature_names_out(), list[TellingWord](), set[str]()
    for place in np.argsort(-sureness, kind="stable"):
        parts = set(words[place].split(" "))
        if len(told) == N_TELLING or sureness[place] < STANDARD_ERRORS:
            break
        if not parts & seen:
            word = re.sub(rf"(?<=[{HAN}]) (?=[{HAN}])", "", words[place])
            told.append(TellingWord(word=word, train=float(train[place]), test=float(test[place])))
            seen |= parts
    return told
