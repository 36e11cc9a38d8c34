"""Words replaced by synonyms from a lexicon, never by an antonym.

Source: Zhang et al., Character-level Convolutional Networks for Text Classification, 2015, section 2.4,
https://arxiv.org/abs/1509.01626, and Wei and Zou, EDA, 2019, https://arxiv.org/abs/1901.11196. nlpaug's SynonymAug takes none
of these lexicons as they are and needs a tagger, so its WordAugmenter is filled anew. Differs from the papers: without a
tagger a word counts as all of its senses, but inflected forms are never replaced by base forms.
"""

from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.lexicons import read_antonyms, read_synonyms
from pipeline.augment.rewriting.word_substitution import (
    Substitution,
    count_words,
    for_content_words,
    is_negation,
    usable,
)
from pipeline.contracts import Augmenter, Corpus
from pipeline.ranges import Name, PositiveInt, Share

SPARES = True
FILES = ("lexicon", "antonyms")


def build(
    *, corpus: Corpus, lexicon: Name = "", format: Literal["ppdb", "cilin", "wordnet"] | None = None,
    antonyms: Name | None = None, related: bool = False, known_only: bool = False, word_ratio: Share = 0.1,
    max_words: PositiveInt = 10,
) -> Augmenter:  # fmt: skip
    """Return the augmenter; see `word_substitution.amounts` for how many words it replaces.

    Args:
        corpus: read only with `known_only`.
        lexicon: the synonyms: a file of lines `word synonym synonym...` or PPDB's own, Cilin, or one of WordNet's files
            `data.noun`, `data.verb`, `data.adj` and `data.adv`, beside which the others are found.
        format: of the lexicon; None finds out.
        antonyms: a file of lines `word antonym antonym...`, or one of WordNet's: none of them ever stands for its word.
            Negations, such as unhappy or 不安全, never do anyway, nor do WordNet's antonyms if it is the lexicon.
        related: whether Cilin's related words (`#`) count as synonyms.
        known_only: whether only words of the corpus are written: PPDB-XL holds words of other languages.

    Raises:
        ParamsError: if a file is missing, naming the line if one is broken.
    """
    words = read_synonyms(Path(lexicon), kind=format, related=related)
    opposites = [words.antonyms, read_antonyms(Path(antonyms)) if antonyms else {}]
    known = {word.lower() for word in count_words(corpus.texts)[0]} if known_only else None

    def are_opposite(word: str, other: str) -> bool:
        pairs = ((word, other), (other, word))
        groups = ((b, group) for listed in opposites for a, b in pairs for group in listed.get(a, ()))
        return is_negation(word, other) or any(b in group for b, group in groups)

    def look_up(word: str) -> list[str]:
        synonyms = usable(chain(*words.synonyms.get(word, ())), word)
        return [other for other in synonyms if (known is None or other in known) and not are_opposite(word, other)]

    options: dict[str, Any] = {"word_ratio": word_ratio, "max_words": max_words}
    return per_text(Substitution, where="synonyms", replacements=for_content_words(look_up), **options)
