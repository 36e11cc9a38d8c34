"""Texts cut into sentences and clauses by rules, English and Chinese alike; the pieces together are the text again.

Source: the golden rules of Pragmatic Segmenter, https://github.com/diasks2/pragmatic_segmenter, cut down to abbreviations,
numbers, links, quotes and full-width signs. NLTK's Punkt knows no Chinese, and its models cannot be had offline.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

import regex

from pipeline.text.words import HAN, IS_HAN

WIDE_SIGNS = "。！？；｡"
END = re.compile(
    rf"(?P<sign>[{WIDE_SIGNS}…!?.]+)(?P<closing>[\"'”’」』）)\]】》〉]*)(?P<blank>\s*)|(?P<line>[\n\r\u2028\u2029]\s*)"
)
LINE_END = re.compile(r"[\n\r\u2028\u2029]")
COMMA = re.compile(rf"，\s*|,(?:\s+|(?=[{HAN}]))")
LAST_WORD = regex.compile(rf"(?:(?![{HAN}])[\w.])+\Z")
LONGEST_ABBREVIATION = 12
INITIALS = regex.compile(r"(?:[^\W\d_]\p{M}*\.)*[^\W\d_]\p{M}*")
BEFORE_ANY = re.compile(
    r"mr|mrs|ms|dr|prof|sr|jr|st|mt|ft|gen|col|sgt|capt|lt|sen|rep|rev|hon|gov|vs|cf|al|dept|inc|ltd|corp|co|approx|ph\.d"
)
BEFORE_NUMBERS = re.compile(
    r"nos?|nr|fig|vol|pp|art|sec|ch|jan|feb|mar|apr|june?|july?|aug|sept?|oct|nov|dec|hwy|rte|rd|ave"
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its closing quotes and the blanks after it; joined they are the text.

    A line is at least one sentence. None is empty, and none is blanks only unless the text is.

    >>> split_sentences("Dr. Bell paid 3.5 dollars. “真的吗？”他问。是！")
    ['Dr. Bell paid 3.5 dollars. ', '“真的吗？”', '他问。', '是！']
    """
    return _pieces(text, _sentence_ends(text))


def split_clauses(text: str) -> list[str]:
    """Return what stands between commas, each with its comma and the blanks after it; joined they are the text.

    >>> split_clauses("昨天，天气好, but 1,000 people left")
    ['昨天，', '天气好, ', 'but 1,000 people left']
    """
    return _pieces(text, (match.end() for match in COMMA.finditer(text)))


def _pieces(text: str, ends: Iterable[int]) -> list[str]:
    """Return the text cut at ascending ends, blanks by themselves with what follows or, at the end, stands before them."""
    kept = [0]
    for end in ends:
        if text[kept[-1] : end].strip():
            kept.append(end)
    if len(kept) > 1 and not text[kept[-1] :].strip():
        kept.pop()
    return [text[start:end] for start, end in pairwise([*kept, len(text)]) if start < end]


def _sentence_ends(text: str) -> Iterator[int]:
    """Yield where the sentences end, in order, blanks after them included."""
    counted, is_open = 0, False
    for match in END.finditer(text):
        if match["line"]:
            counted, is_open = match.end(), False
            yield match.end()
            continue
        is_open ^= text.count('"', counted, match.end("sign")) % 2 == 1
        counted = match.end("sign")
        opens = match["closing"].find('"')
        if opens >= 0 and not is_open and not match["blank"] and match.end() < len(text):
            # A straight quote that closes nothing, with a word behind it, opens the next sentence.
            if _ends(match, ""):
                yield match.end("sign") + opens
        elif _ends(match, match["blank"]):
            yield match.end()
        if LINE_END.search(match["blank"]):
            counted, is_open = match.end(), False


def _ends(match: re.Match[str], blank: str) -> bool:
    """Return whether the signs end a sentence, and are not part of a number, a link, an abbreviation or a pause."""
    text, sign, following = match.string, match["sign"], match.string[match.end() : match.end() + 1]
    if not following or LINE_END.search(blank) or any(wide in sign for wide in WIDE_SIGNS):
        return True
    if sign == "." and _abbreviates(text, match.start(), following):
        return False
    if not blank:
        return IS_HAN.match(following) is not None and not (sign == "." and text[match.start() - 1 :][:1].isdecimal())
    # A small letter goes on after a quotation or a pause; after a single sign it begins a sentence, as in tweets.
    pauses = set(sign) == {"…"} or (set(sign) == {"."} and sign != ".")
    return not (following.islower() and (match["closing"] or pauses))


def _abbreviates(text: str, position: int, following: str) -> bool:
    """Return whether the dot at a position belongs to the word or number before it."""
    before = LAST_WORD.search(text, max(0, position - LONGEST_ABBREVIATION), position)
    if before is None:
        return False
    word = before.group().lower()
    if word.isdecimal():  # "2. " numbers an item where nothing stands before it on the line
        line = text[max(0, before.start() - LONGEST_ABBREVIATION) : before.start()].rstrip(" \t")
        return not line or line.endswith(("\n", "\r"))
    is_title = BEFORE_ANY.fullmatch(word) or (following.isdecimal() and BEFORE_NUMBERS.fullmatch(word))
    return bool(is_title) or (INITIALS.fullmatch(word) is not None and word != "i")
