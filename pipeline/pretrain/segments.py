"""A text as its sentences, or as two segments that follow one another."""

from itertools import accumulate, pairwise

from pipeline.pretrain.pretext import Span
from pipeline.pretrain.words import words_of
from pipeline.text.sentences import split_sentences


def sentence_spans(text: str) -> list[Span]:
    """Return the characters [start, end) of each sentence, blanks after it included."""
    return list(pairwise([0, *accumulate(map(len, split_sentences(text)))]))


def two_segments(text: str) -> tuple[str, str]:
    """Return a text cut at the end of the sentence that is nearest to its middle.

    A text of one sentence is cut before a word, one of one word within it; of one character the first segment is empty.

    >>> two_segments("It rains. We stay in. All day long."), two_segments("we stay in"), two_segments("雨")
    (('It rains. We stay in.', 'All day long.'), ('we', 'stay in'), ('', '雨'))
    """
    starts = [start for start, _ in sentence_spans(text)][1:] or [start for start, _ in words_of(text, kind="auto")][1:]
    cut = min(starts or [len(text) // 2], key=lambda start: abs(2 * start - len(text)))
    return text[:cut].strip(), text[cut:].strip()
