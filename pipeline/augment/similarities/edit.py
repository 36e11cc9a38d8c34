"""One minus the edit distance over the length of the longer text: the share of the characters that stayed.

Source: Levenshtein, 1966; by the library rapidfuzz, https://github.com/rapidfuzz/RapidFuzz
"""

from collections.abc import Callable, Sequence

import numpy as np

LIBRARIES = ("rapidfuzz",)  # its version stands in the recipe


def build() -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    """Return the similarity of the characters as they stand, case and blanks included; 1 for two empty texts."""
    return _similarity


def _similarity(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    similarities: np.ndarray = cpdist(texts, others, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    return similarities
