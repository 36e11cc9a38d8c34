"""Word mover's similarity: how far the words of one text must travel to become those of the other.

Source: Kusner et al., From Word Embeddings To Document Distances, ICML 2015, section 4,
https://proceedings.mlr.press/v37/kusnerb15.html
Differs from the paper: stop words stay.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.augment.word_transport import needed_vectors, transport_distances
from pipeline.contracts import Corpus
from pipeline.ranges import Name, NotNegativeInt

FILES = ("path",)
LIBRARIES = ("POT", "jieba")  # their versions stand in the recipe


def build(
    *, corpus: Corpus, path: Name = "", n_words: NotNegativeInt = 50_000, unit_length: bool = False
) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    """Return 1 / (1 + distance): the least cost of transport where all words weigh the same.

    A word's mass is its share of the text's words, and moving it costs the Euclidean distance of the vectors. See
    `transport_distances` for words without a vector.

    See `needed_vectors` for whose vectors are read, and for what is refused.

    Args:
        unit_length: scale the vectors to length 1 first, as gensim does; else similarities depend on the file's scale.
    """
    vectors = needed_vectors(corpus.texts, path=path, n_words=n_words)
    if unit_length:
        vectors = {word: vector / (np.linalg.norm(vector) or 1.0) for word, vector in vectors.items()}

    options: dict[str, Any] = {"masses": lambda counts, points: counts, "metric": "euclidean"}
    return lambda texts, others: 1 / (1 + transport_distances(texts, others, vectors, **options))
