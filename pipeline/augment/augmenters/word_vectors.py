"""Words replaced by their neighbours in the space of word vectors.

Source: Wang and Yang, That's So Annoying!!!, 2015, https://aclanthology.org/D15-1306, as in nlpaug's WordEmbsAug. That one
reads whole files into a cache that ignores their path, looks a word's neighbours up each time and knows no floor of
similarity; so gensim's KeyedVectors stand behind nlpaug's WordAugmenter here.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.opposites import is_negation
from pipeline.augment.rewriting.word_substitution import Substitution, count_words, is_function_word, usable
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.text.vector_files import Vectors, read_vectors

SPARES = True
FILES = ("path",)
LIBRARIES = ("gensim", "jieba")  # their versions stand in the recipe
CACHED_WORDS = 50_000


class Neighbours(Substitution):
    """Replaces words by others whose vectors point the same way."""

    def __init__(self, *, vectors: Vectors, top_k: int, min_similarity: float, **options: Any) -> None:
        from gensim.models import KeyedVectors

        super().__init__(where="word_vectors", **options)
        self.vectors = KeyedVectors(len(next(iter(vectors.values()))))
        self.vectors.add_vectors(list(vectors), np.array(list(vectors.values())))
        self.top_k, self.min_similarity = top_k, min_similarity
        self.found = lru_cache(CACHED_WORDS)(self._found)

    def replacements(self, word: str) -> Sequence[str]:
        """Return the neighbours of a word, the nearest first."""
        return self.found(word.lower())

    def _found(self, word: str) -> list[str]:
        if word not in self.vectors or is_function_word(word) or any(map(str.isdigit, word)):
            return []
        # Of a word's neighbours about half are signs, names of users, or words of another script.
        near = self.vectors.most_similar(word, topn=3 * self.top_k)
        alike = [one for one, similarity in near if similarity >= self.min_similarity and not is_negation(word, one)]
        return usable(alike, word)[: self.top_k]


def build(
    *,
    corpus: Corpus,
    path: str = "",
    top_k: int = 10,
    min_similarity: float = 0.6,
    n_words: int = 20_000,
    word_ratio: float = 0.1,
    max_words: int = 10,
) -> Augmenter:
    """Return the augmenter.

    Args:
        corpus: whose words are looked up in the file.
        path: a text file of word2vec (first line: count and size) or GloVe in models/, also `.gz`. Where it holds Chinese
            characters only, only words of one character are replaced.
        top_k: how many neighbours of a word may stand for it.
        min_similarity: the least cosine between a word and what stands for it, in [-1, 1].
        n_words: words of the file, the first, that may be written besides those of the corpus.
        word_ratio: share of a text's words that are replaced, in (0, 1], rounded up.
        max_words: at most so many words per text.

    Raises:
        ParamsError: if there is no such file, it is broken, or knows no word of the corpus.
    """
    if not path or not Path(path).is_file():
        raise ParamsError(f"word_vectors.path: must name a text file of word vectors in models/, got {path!r}. Add it.")
    if top_k < 1 or n_words < 0:
        raise ParamsError(
            f"word_vectors: top_k must be at least 1 and n_words at least 0, got {top_k} and {n_words}. Raise them."
        )
    if not -1 <= min_similarity <= 1:
        raise ParamsError(f"word_vectors.min_similarity: must be in [-1, 1], got {min_similarity}. Try 0.6.")
    wanted = {word.lower() for word in count_words(corpus.texts)[0]}
    vectors = read_vectors(Path(path), wanted=wanted, n_more=n_words)
    if wanted.isdisjoint(vectors):
        raise ParamsError(f"{path}: must know words of the texts, got none of {len(wanted)}. Take their language's.")
    options = {"top_k": top_k, "min_similarity": min_similarity, "word_ratio": word_ratio, "max_words": max_words}
    return per_text(Neighbours, vectors=vectors, **options)
