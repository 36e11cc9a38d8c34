"""Words replaced by their neighbours in the space of word vectors.

Source: Wang and Yang, That's So Annoying!!!, 2015, https://aclanthology.org/D15-1306, as in nlpaug's WordEmbsAug. That one
reads whole files into a cache that ignores their path, looks a word's neighbours up each time and knows no floor of
similarity; so gensim's KeyedVectors stand behind nlpaug's WordAugmenter here.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.word_substitution import (
    Substitution,
    count_words,
    for_content_words,
    is_negation,
    usable,
)
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name, NotNegativeInt, PositiveInt, Share
from pipeline.text.vector_files import read_vectors

SPARES = True
FILES = ("path",)
LIBRARIES = ("gensim", "jieba")  # their versions stand in the recipe


def build(
    *,
    corpus: Corpus,
    path: Name = "",
    top_k: PositiveInt = 10,
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.6,
    n_words: NotNegativeInt = 20_000,
    word_ratio: Share = 0.1,
    max_words: PositiveInt = 10,
) -> Augmenter:
    """Return the augmenter; see `word_substitution.amounts` for how many words it replaces.

    Args:
        corpus: whose words are looked up in the file.
        path: a text file of word2vec (first line: count and size) or GloVe in models/, also `.gz`. Where it holds Chinese
            characters only, only words of one character are replaced.
        top_k: how many neighbours of a word may stand for it.
        min_similarity: the least cosine between a word and what stands for it, in [-1, 1].
        n_words: words of the file, the first, that may be written besides those of the corpus.

    Raises:
        ParamsError: if there is no such file, it is broken, or knows no word of the corpus.
    """
    if not Path(path).is_file():
        raise ParamsError(f"word_vectors.path: must name a text file of word vectors in models/, got {path!r}. Add it.")
    wanted = {word.lower() for word in count_words(corpus.texts)[0]}
    vectors = read_vectors(Path(path), wanted=wanted, n_more=n_words)
    if wanted.isdisjoint(vectors):
        raise ParamsError(f"{path}: must know words of the texts, got none of {len(wanted)}. Take their language's.")
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(len(next(iter(vectors.values()))))
    keyed.add_vectors(list(vectors), np.array(list(vectors.values())))

    def look_up(word: str) -> list[str]:
        # Of a word's neighbours about half are signs, names of users, or words of another script.
        near = keyed.most_similar(word, topn=3 * top_k) if word in keyed else []
        alike = [other for other, cosine in near if cosine >= min_similarity and not is_negation(word, other)]
        return usable(alike, word)[:top_k]

    options: dict[str, Any] = {"word_ratio": word_ratio, "max_words": max_words}
    return per_text(Substitution, where="word_vectors", replacements=for_content_words(look_up), **options)
