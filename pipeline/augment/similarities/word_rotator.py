"""Word rotator's similarity: words' directions turned onto each other, long vectors weighing more.

Source: Yokoi et al., Word Rotator's Distance, 2020, eq. 11 to 14, https://arxiv.org/abs/2004.15003
Differs from the paper: the vectors are taken as they are, without its conversions (all-but-the-top and others).
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
    *, corpus: Corpus, path: Name = "", n_words: NotNegativeInt = 50_000
) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    """Return max(0, 1 - distance): the mean cosine of the words moved, those that point apart counting as unlike.

    The distance, in [0, 2], is the least cost of transport where a word's mass is the length of its vector and moving it
    costs one minus the cosine. See `transport_distances` for words without a vector.

    See `needed_vectors` for whose vectors are read, and for what is refused.
    """
    vectors = needed_vectors(corpus.texts, path=path, n_words=n_words)

    options: dict[str, Any] = {
        "masses": lambda counts, points: counts * np.linalg.norm(points, axis=1),
        "metric": "cosine",
    }
    return lambda texts, others: np.clip(1 - transport_distances(texts, others, vectors, **options), 0, 1)
