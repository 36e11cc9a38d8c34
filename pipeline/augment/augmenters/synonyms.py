"""Words replaced by synonyms from a lexicon, never by an antonym.

Source: Zhang et al., Character-level Convolutional Networks for Text Classification, 2015, section 2.4,
https://arxiv.org/abs/1509.01626, and Wei and Zou, EDA, 2019, https://arxiv.org/abs/1901.11196. nlpaug's SynonymAug takes none
of these lexicons as they are and needs a tagger, so its WordAugmenter is filled anew. Differs from the papers: without a
tagger a word counts as all of its senses, but inflected forms are never replaced by base forms.
"""

from collections.abc import Container, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.opposites import is_negation
from pipeline.augment.rewriting.synonym_files import Groups, SynonymFile, read_antonyms, read_synonyms
from pipeline.augment.rewriting.word_substitution import Substitution, count_words, is_function_word, usable
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError

SPARES = True
FILES = ("lexicon", "antonyms")
CACHED_WORDS = 50_000


class Synonyms(Substitution):
    """Replaces words by their synonyms."""

    def __init__(self, *, lexicon: SynonymFile, known: Container[str] | None, **options: Any) -> None:
        super().__init__(where="synonyms", **options)
        self.lexicon, self.known = lexicon, known
        self.found = lru_cache(CACHED_WORDS)(self._found)

    def replacements(self, word: str) -> Sequence[str]:
        """Return the synonyms of a word."""
        return self.found(word.lower())

    def _found(self, word: str) -> list[str]:
        groups = self.lexicon.synonyms.get(word)
        if not groups or is_function_word(word) or any(map(str.isdigit, word)):
            return []
        return [
            one
            for one in usable(chain(*groups), word)
            if (self.known is None or one in self.known) and not self._are_opposite(word, one)
        ]

    def _are_opposite(self, word: str, other: str) -> bool:
        antonyms = self.lexicon.antonyms
        pairs = ((word, other), (other, word))
        return is_negation(word, other) or any(b in group for a, b in pairs for group in antonyms.get(a, ()))


def build(
    *,
    corpus: Corpus,
    lexicon: str = "",
    format: Literal["ppdb", "cilin", "wordnet"] | None = None,
    antonyms: str | None = None,
    related: bool = False,
    known_only: bool = False,
    word_ratio: float = 0.1,
    max_words: int = 10,
) -> Augmenter:
    """Return the augmenter.

    Args:
        corpus: read only with `known_only`.
        lexicon: the synonyms: a file of lines `word synonym synonym...` or PPDB's own, Cilin, or one of WordNet's files
            `data.noun`, `data.verb`, `data.adj` and `data.adv`, beside which the others are found.
        format: of the lexicon; None finds out.
        antonyms: a file of lines `word antonym antonym...`, or one of WordNet's: none of them ever stands for its word.
            Negations, such as unhappy or 不安全, never do anyway, nor do WordNet's antonyms if it is the lexicon.
        related: whether Cilin's related words (`#`) count as synonyms.
        known_only: whether only words of the corpus are written: PPDB-XL holds words of other languages.
        word_ratio: share of a text's words that are replaced, in (0, 1], rounded up.
        max_words: at most so many words per text.

    Raises:
        ParamsError: if a file is missing, naming the line if one is broken.
    """
    if not lexicon:
        raise ParamsError("synonyms.lexicon: must name a file of synonyms in models/, got none. Add it.")
    found = read_synonyms(Path(lexicon), kind=format, related=related)
    if antonyms:
        found = SynonymFile(found.synonyms, _merged(found.antonyms, read_antonyms(Path(antonyms))))
    known = {word.lower() for word in count_words(corpus.texts)[0]} if known_only else None
    return per_text(Synonyms, lexicon=found, known=known, word_ratio=word_ratio, max_words=max_words)


def _merged(first: Groups, second: Groups) -> Groups:
    return {word: [*first.get(word, ()), *second.get(word, ())] for word in {**first, **second}}
