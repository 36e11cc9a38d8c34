"""A text as two segments that follow one another."""

from itertools import accumulate

from pipeline.pretrain.words import words_of
from pipeline.text.sentences import split_sentences


def two_segments(text: str) -> tuple[str, str]:
    """Return a text cut at the end of the sentence that is nearest to its middle.

    A text of one sentence is cut before a word, one of one word within it; of one character the first segment is empty.

    >>> two_segments("It rains. We stay in. All day long."), two_segments("we stay in"), two_segments("雨")
    (('It rains. We stay in.', 'All day long.'), ('we', 'stay in'), ('', '雨'))
    """
    ends = list(accumulate(map(len, split_sentences(text))))[:-1]
    ends = ends or [start for start, _ in words_of(text, kind="auto") if start] or [len(text) // 2]
    cut = min(ends, key=lambda end: abs(2 * end - len(text)))
    return text[:cut].strip(), text[cut:].strip()
