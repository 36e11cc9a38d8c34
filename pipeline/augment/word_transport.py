"""The words of a text as points with masses, and the least cost of moving one text's masses onto another's.

Source: optimal transport, solved exactly by the network simplex of POT, https://pythonot.github.io: thirty times as fast
for short texts as scipy's `linprog`. Only equal bags of words need none: where the cost is no metric, as one minus the
cosine is none, words that both texts hold may have to move.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.augment.rewriting.spans import cut_spans
from pipeline.errors.exceptions import ParamsError
from pipeline.text.normalising import normalise
from pipeline.text.vector_files import Vectors, read_vectors
from pipeline.text.words import IS_HAN, find_word, word_forms

MAX_WORDS = 1000  # different ones per text, the first: two texts of so many take half a second
CACHED_BAGS = 1000
MAX_STEPS = 10_000_000  # of the simplex; POT's 100,000 end too soon for long texts
Metric = Literal["cosine", "euclidean"]
Masses = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bag:
    """The known words of a text in sorted order, their masses (W,) of sum 1 and their points (W, V)."""

    words: list[str]
    masses: np.ndarray
    points: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bag) and self.words == other.words and np.array_equal(self.masses, other.masses)


def needed_vectors(texts: Sequence[str], *, path: str, n_words: int) -> Vectors:
    """Return the vectors of the texts' words and characters, and of the first `n_words` others of a file.

    The file is a text file of word2vec (first line: count and size) or GloVe in models/, also `.gz`. The other words serve
    for variants, which hold words that the texts do not.

    Raises:
        ParamsError: if there is no such file, it is broken, or it knows no word of the texts.
    """
    if not Path(path).is_file():
        raise ParamsError(f"path: no such file: {path}. Put the vectors there or correct the path.")
    words = {text[start:end] for text in texts for start, end in cut_spans(text)}
    wanted = {form for word in words for form in (*word_forms(word), *word)}
    vectors = read_vectors(Path(path), wanted=wanted, n_more=n_words)
    if words and wanted.isdisjoint(vectors):
        problem = f"path: {path} must know words of the texts, got none of {len(words)}."
        raise ParamsError(f"{problem} Take vectors of their language.")
    return vectors


def transport_distances(
    texts: Sequence[str], others: Sequence[str], vectors: Vectors, *, masses: Masses, metric: Metric
) -> np.ndarray:
    """Return the cost of transport per pair of texts, float64 (N,), each >= 0.

    Words are found as they stand, lower-cased, and so on (see `word_forms`). A Chinese word that is not known stands at the
    mean of its known characters' vectors; others are left out. Where a text is left without any word, the cost is 0 if the
    texts are equal after `normalise`, else infinite. Of a very long text the first 1,000 different words are read.

    Args:
        masses: gives each different word of a text its mass >= 0, from its number of occurrences (W,) and its point
            (W, V); they are scaled to sum 1.
        metric: what it costs to move a mass of 1 from a point to another.

    >>> vectors = {"fire": np.array([1.0, 0.0]), "rain": np.array([0.0, 2.0])}
    >>> transport_distances(["Fire, rain"], ["rain"], vectors, masses=lambda counts, points: counts, metric="cosine")
    array([0.5])
    """
    bag_of = lru_cache(maxsize=CACHED_BAGS)(lambda text: _bag(text, vectors, masses))
    distances = np.empty(len(texts))
    for row, (text, other) in enumerate(zip(texts, others, strict=True)):
        first, second = bag_of(text), bag_of(other)
        if first.words and second.words:
            distances[row] = _transport(first, second, metric)
        else:
            distances[row] = 0.0 if normalise(text) == normalise(other) else np.inf
    return distances


def _bag(text: str, vectors: Vectors, masses: Masses) -> Bag:
    counts, point_of = Counter[str](), dict[str, np.ndarray]()
    for start, end in cut_spans(text):
        known = find_word(text[start:end], vectors)
        word = text[start:end] if known is None else known
        point = _mean_of_characters(word, vectors) if known is None else vectors[known]
        if point is not None and (len(point_of) < MAX_WORDS or word in point_of):
            counts[word] += 1
            point_of[word] = point
    words = sorted(point_of)
    if not words:
        return Bag([], np.empty(0), np.empty((0, 0)))
    points = np.stack([point_of[word] for word in words]).astype(np.float64)  # (W, V)
    mass = masses(np.array([counts[word] for word in words], np.float64), points)
    kept = np.flatnonzero(mass)
    return Bag(
        [words[position] for position in kept], mass[kept] / mass.sum() if len(kept) else mass[kept], points[kept]
    )


def _mean_of_characters(word: str, vectors: Vectors) -> np.ndarray | None:
    known = [vectors[character] for character in word if character in vectors] if IS_HAN.match(word) else []
    mean: np.ndarray | None = np.mean(known, axis=0) if known else None
    return mean


def _transport(first: Bag, second: Bag, metric: Metric) -> float:
    from ot import emd2
    from scipy.spatial.distance import cdist

    if first == second:
        return 0.0
    if second.words < first.words:  # the same sums in the same order: exactly symmetric
        first, second = second, first
    costs = np.maximum(cdist(first.points, second.points, metric), 0.0)  # (W, X)
    # The simplex may not end where every way costs nothing, as between words of one vector.
    return max(0.0, float(emd2(first.masses, second.masses, costs, numItermax=MAX_STEPS))) if costs.any() else 0.0
