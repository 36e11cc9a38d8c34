"""Replaces a sentence of a text by one like it from another row of the same class.

Source: crossover of texts, Luque, Atalaya at TASS 2019 (instance crossover), https://arxiv.org/abs/1909.11241, with the
nearest sentences by TF-IDF cosine instead of any half. nlpaug has none: `rewriting/sentence_rewriting.py` puts it behind its
interface. A text that is one sentence is taken as its clauses: to replace it whole would only repeat another row.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.augment.rewriting.sentence_rewriting import SIGNS, free_pieces, per_text
from pipeline.augment.rewriting.spans import is_word
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import PositiveInt
from pipeline.text.sentences import split_clauses, split_sentences
from pipeline.text.words import HAN, IS_HAN, is_of_words, word_spans

LIBRARIES = ("nlpaug",)  # its version stands in the recipe
HAN_PAIR = re.compile(f"(?=([{HAN}]{{2}}))")
NEEDS_LABELS = True
COMMAS = (",", "，")
DECIMALS = 6
CACHED_PIECES = 10_000


def build(*, corpus: Corpus, top_k: PositiveInt = 10) -> Augmenter:
    """Return the augmenter; a text that the corpus does not hold, or holds with two labels, has no variant.

    Args:
        corpus: texts whose sentences are borrowed, with labels.
        top_k: of how many nearest sentences, of all that share a word, one is drawn.

    Raises:
        ParamsError: if the corpus has no labels.
    """
    if corpus.labels is None:
        raise ParamsError("same_class_sentence: needs labels, but these texts have none. Leave it out for this task.")
    sentences = ClassSentences(corpus, top_k)
    return per_text(sentences.replace_one, name="same_class_sentence", action="substitute")


class ClassSentences:
    """The pieces of a corpus by class, and which are like which. TF-IDF of a piece: its words and pairs of characters."""

    def __init__(self, corpus: Corpus, top_k: int) -> None:
        """Take texts and labels, of which there must be as many."""
        self.top_k = top_k
        labels: dict[str, int | None] = {}
        given: Sequence[int] = [] if corpus.labels is None else corpus.labels
        for text, of_text in zip(map(str.strip, corpus.texts), given, strict=True):
            labels[text] = of_text if labels.get(text, of_text) == of_text else None
        self.first: dict[str, int] = {}  # the first of a text's pieces
        self.pieces: list[str] = []
        owners: list[tuple[int, int]] = []
        for owner, (text, label) in enumerate(labels.items()):
            if label is not None:
                self.first[text] = len(self.pieces)
                self.pieces += pieces_of(text)
                owners += [(owner, label)] * (len(self.pieces) - len(owners))
        table = np.array(owners, dtype=np.int64).reshape(-1, 2)
        self.owners, self.classes = table[:, 0], table[:, 1]
        self.vectors, self.members, self.columns = self._index()
        self.neighbours = lru_cache(CACHED_PIECES)(self._neighbours)

    def _index(self) -> tuple[csr_array, dict[int, np.ndarray], dict[int, csr_array]]:
        """Return the pieces' vectors, and per class which pieces it has and their vectors by word."""
        vectorizer = TfidfVectorizer(analyzer=lambda piece: list(_terms(piece)), sublinear_tf=True, dtype=np.float32)
        if any(next(_terms(piece), None) for piece in self.pieces):
            vectors = csr_array(vectorizer.fit_transform(self.pieces))
        else:
            vectors = csr_array((len(self.pieces), 1), dtype=np.float32)
        members = {int(label): np.flatnonzero(self.classes == label) for label in np.unique(self.classes)}
        return vectors, members, {label: csr_array(vectors[of_class].T) for label, of_class in members.items()}

    def replace_one(self, text: str, terms: frozenset[str]) -> str | None:
        """Return a text of the corpus with one piece, that holds no term, replaced; None if there is nothing to do."""
        start = self.first.get(text)
        pieces = pieces_of(text)
        if start is None or len(pieces) < 2:
            return None
        free = free_pieces(pieces, terms)
        for position in random.sample(free, len(free)):
            donors = self.neighbours(start + position)
            if donors:
                pieces[position] = fit(self.pieces[random.choice(donors)], pieces[position])
                return "".join(pieces).strip()
        return None

    def _neighbours(self, piece: int) -> list[int]:
        """Return the `top_k` pieces of other rows of the same class that are most like a piece, like it at all."""
        label = int(self.classes[piece])
        # One row against an inverted index: memory is that of the pieces that share a word with it.
        likeness = csr_array(self.vectors[[piece]] @ self.columns[label])
        donors = self.members[label][likeness.indices]
        order = np.lexsort((donors, -likeness.data.round(DECIMALS)))
        nearest = donors[order[self.owners[donors[order]] != self.owners[piece]]]
        first_of = {
            self.pieces[piece].strip(): piece
        }  # of donors that read alike the nearest, none that reads as the piece
        for donor in nearest.tolist():
            first_of.setdefault(self.pieces[donor].strip(), donor)
            if len(first_of) > self.top_k:
                break
        return list(first_of.values())[1:]


def pieces_of(text: str) -> list[str]:
    """Return the sentences of a text, or its clauses if only one of them holds a letter or digit.

    >>> pieces_of("It rains. Stay in!"), pieces_of("下雨了，别出门！")
    (['It rains. ', 'Stay in!'], ['下雨了，', '别出门！'])
    """
    sentences = split_sentences(text)
    return sentences if sum(any(map(str.isalnum, sentence)) for sentence in sentences) > 1 else split_clauses(text)


def fit(donor: str, replaced: str) -> str:
    """Return what stands instead of a piece: the blanks after it stay, a comma too, and any sign if the donor has none.

    >>> fit("go home!\\n", "stay in, "), fit("go home!\\n", "stay in. "), fit("回家，", "别出门。")
    ('go home, ', 'go home! ', '回家。')
    """
    bare, donor = replaced.rstrip(), donor.strip()
    sign = SIGNS.search(bare)
    if sign and (is_of_words(donor[-1]) or bare.endswith(COMMAS) or donor.endswith(COMMAS)):
        donor = SIGNS.sub("", donor) + sign.group()
    return donor + replaced[len(bare) :]


def _terms(piece: str) -> Iterator[str]:
    """Yield lower-cased words and pairs of Chinese characters: single ones would be in every other piece."""
    lowered = piece.lower()
    for start, end in word_spans(lowered, "blank"):
        word = lowered[start:end]
        if is_word(word) and not IS_HAN.match(word):
            yield word.lstrip("#")
    yield from (match.group(1) for match in HAN_PAIR.finditer(lowered))
