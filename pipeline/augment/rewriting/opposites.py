"""Words that negate one another by their form: what must never stand for a word, whatever a lexicon or vectors say."""

PREFIXES = frozenset(
    {"un", "in", "im", "il", "ir", "dis", "non", "non-", "mis", "de", "anti", "anti-", "counter", "a", "n"}
)
SUFFIXES = ("n't", "n’t", "nt", "not", "less", "-less", "-free")
NEGATIONS = ("没有", "不", "非", "无", "無", "没", "未", "否", "勿", "莫")
AFFIRMED = ("", "得", "有", "可", "能", "会", "很", "正", "肯")


def is_negation(word: str, other: str) -> bool:
    """Return whether one of two lower-cased words is the other one negated, such as by un-, -less, 不 or 无.

    Some pairs that are none, such as form and inform, count as well: it costs a synonym, no more.

    >>> [is_negation("happy", "unhappy"), is_negation("careful", "careless"), is_negation("ever", "never")]
    [True, True, True]
    >>> [is_negation("安全", "不安全"), is_negation("无效", "有效"), is_negation("吃得消", "吃不消")]
    [True, True, True]
    >>> [is_negation("happy", "glad"), is_negation("unhappy", "unlucky"), is_negation("不安", "不宁")]
    [False, False, False]
    """
    return _is_negated(word, other) or _is_negated(other, word)


def _is_negated(word: str, negated: str) -> bool:
    if negated.endswith(word) and negated[: -len(word)] in PREFIXES:
        return True
    if negated.endswith(SUFFIXES):
        stems = [negated[: -len(suffix)] for suffix in SUFFIXES if negated.endswith(suffix)]
        if any(word in (stem, stem + "ful", stem + "fully", stem + "y") for stem in stems):
            return True
    return not negated.isascii() and any(
        word == negated.replace(negation, affirmed, 1)
        for negation in NEGATIONS
        if negation in negated[:-1]  # 没 at the end means sunk: 淹没
        for affirmed in AFFIRMED
    )
