"""Words in place of words: which of a text's words change, what may stand for them, and how the text is put together.

Source: nlpaug's WordAugmenter, https://github.com/makcedward/nlpaug, which says how many words change. Differs from it:
words keep the blanks before them and their capitals, and only words for which there is something else are drawn.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import regex
from nlpaug.augmenter.word import WordAugmenter
from nlpaug.util import Action

from pipeline.augment.rewriting.spans import N_TRIES, Word, align_case, cut_spans, joined, words_of
from pipeline.text.words import IS_HAN, LETTERS

CACHED_WORDS = 50_000
Replacements = Callable[[str], Sequence[str]]
# How words negate one another by their form, whatever a lexicon or vectors say.
PREFIXES = frozenset(
    {"un", "in", "im", "il", "ir", "dis", "non", "non-", "mis", "de", "anti", "anti-", "counter", "a", "n"}
)
SUFFIXES = ("n't", "n’t", "nt", "not", "less", "-less", "-free")
NEGATIONS = ("没有", "不", "非", "无", "無", "没", "未", "否", "勿", "莫")
AFFIRMED = ("", "得", "有", "可", "能", "会", "很", "正", "肯")
PLAIN = regex.compile(rf"{LETTERS}(?:['’-]{LETTERS})*")
# They carry the grammar or turn the meaning round; what lexicons and vectors hold for them is mostly another use of the word.
FUNCTION_WORDS = frozenset(re.findall(r"\w+", """
    a about above after again against ago all almost also although always am among an and another any anybody anyone
    anything are as at away back be because been before being below between both but by can cannot cant could despite
    did do does doing done dont down during each either else enough even ever every everybody everyone everything
    except few for from further get gets getting go goes going gone got had has have having he hence her here hers
    herself him himself his how however i if im in indeed instead into is it its itself just least less let lets like
    ll many may maybe me might mine more most much must my myself near neither never no nobody none nor not nothing now
    of off often on once one only onto or other others otherwise ought our ours ourselves out over own per perhaps
    quite rather re s same several shall she should since so some somebody someone something sometimes still such t
    than that the their theirs them themselves then there these they this those though through thus till to together
    too toward towards u under unless until up upon ur us ve very via was we well were what whatever when where whether
    which while who whoever whom whose why will with within without would yes yet you your yours yourself yourselves
    的 了 着 过 地 得 之 在 是 有 没 没有 不 不是 不会 不能 不要 别 无 非 未 和 与 跟 同 及 或 或者 而 而且 但 但是 可
    可是 因为 所以 如果 虽然 然后 就 就是 都 也 又 还 还是 再 才 只 只是 很 太 更 最 真 好 我 你 您 他 她 它 我们 你们
    他们 她们 它们 咱们 自己 大家 这 那 这个 那个 这些 那些 这样 那样 这么 那么 这里 那里 哪 哪里 谁 什么 怎么 为什么
    多少 几 一 一个 一下 一些 两 个 把 被 给 让 叫 使 对 对于 从 向 往 到 由 以 于 为 为了 用 比 会 能 能够 可以 要
    应该 必须 想 来 去 上 下 里 中 内 外 前 后 时 等 吗 呢 吧 啊 呀 哦 嗯 嘛 啦 哈 哈哈 们 所 其 此 某 每 各 并 且 则
    若 却 已 已经 正在 将 曾 曾经
"""))  # fmt: skip


class Substitution(WordAugmenter):
    """Replaces words by others: by those that a function of a word returns, none where it returns nothing."""

    def __init__(
        self, *, where: str, replacements: Replacements, word_ratio: float, max_words: int, **tokenizers: Any
    ) -> None:
        super().__init__(Action.SUBSTITUTE, name=where, **amounts(word_ratio, max_words), **tokenizers)
        self.replacements = replacements

    def order(self, words: Sequence[str]) -> list[int]:
        """Return the positions of the words that may change, those first that are to be tried first."""
        positions = changeable(self, words)
        random.shuffle(positions)
        return positions

    def substitute(self, data: str) -> str:
        """Return the text with as many words replaced as are wanted and can be."""
        words = self.tokenizer(data)
        order = self.order(words)
        left = self.generate_aug_cnt(len(order))
        for position in order:
            others = self.replacements(words[position])
            if others:
                words[position] = replaced(words[position], random.choice(others))
                left -= 1
                if left == 0:
                    break
        return kept_whole(words)


class Draw:
    """Draws words by their weights: Chinese ones for a Chinese word, others for another."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        groups: dict[bool, list[str]] = {True: [], False: []}
        for word in sorted(weights):
            if weights[word] > 0 and PLAIN.fullmatch(word):
                groups[is_chinese(word)].append(word)
        self.groups = {han: (words, list(accumulate(weights[word] for word in words))) for han, words in groups.items()}

    def __call__(self, word: str) -> list[str]:
        """Return one other word, or none if there is no other."""
        words, sums = self.groups[is_chinese(word)]
        for _ in range(N_TRIES if words else 0):
            (drawn,) = random.choices(words, cum_weights=sums)
            if drawn.lower() != word.lower():
                return [drawn]
        return []


def amounts(word_ratio: float, max_words: int) -> dict[str, Any]:
    """Return nlpaug's arguments for the share of a text's words that change, rounded up: one to `max_words` of them."""
    return {"aug_p": word_ratio, "aug_min": 1, "aug_max": max_words}


def for_content_words(look_up: Replacements) -> Replacements:
    """Return a function of a word, lower-cased and cached, that finds nothing for function words and those with digits."""

    @lru_cache(CACHED_WORDS)
    def of_lowered(word: str) -> Sequence[str]:
        return () if is_function_word(word) or any(map(str.isdigit, word)) else look_up(word)

    return lambda word: of_lowered(word.lower())


def changeable(augmenter: Any, words: Sequence[str]) -> list[int]:
    """Return the positions of the words that may change; numbers, such as the 000 of 13,000, do not."""
    spared = augmenter.stopwords
    return [i for i, word in enumerate(words) if word not in spared and not word.isdecimal()]


def replaced(word: Any, new: str) -> Word:
    """Return a word to stand for another: in its capitals, and after the blanks that stood before it.

    >>> replaced(Word("Fire", " "), "blaze"), replaced(Word("FIRE", " "), "blaze"), replaced(Word("a", " "), "blaze")
    ('Blaze', 'BLAZE', 'blaze')
    """
    return Word(align_case(new, word), word.glue)


def kept_whole(words: Sequence[str]) -> str:
    """Return the text of words, or nothing if one of its Chinese words would be cut otherwise beside a new neighbour.

    >>> kept_whole([Word("天气", ""), Word("很", ""), Word("好", "")])
    '天气很好'
    >>> kept_whole([Word("发展", ""), Word("中国", ""), Word("家", "")])
    ''
    """
    text = joined(words)
    if not IS_HAN.search(text):
        return text
    spans, end = set(cut_spans(text)), 0
    for word in words:
        start = text.find(word, end)
        end = start + len(word)
        if len(word) > 1 and IS_HAN.match(word) and (start, end) not in spans:
            return ""
    return text


def is_function_word(word: str) -> bool:
    """Return whether a lower-cased word carries grammar rather than meaning.

    >>> is_function_word("the"), is_function_word("isn’t"), is_function_word("没有"), is_function_word("fire")
    (True, True, True, False)
    """
    return word in FUNCTION_WORDS or word.endswith(("n't", "n’t"))


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


def usable(candidates: Iterable[str], word: str) -> list[str]:
    """Return those that can stand for a word: other words, of its script, with neither signs, digits nor capitals.

    >>> usable(["Flame", "blaze", "-fire", "火", "fire", "the", "b1", "x"], "fire")
    ['blaze']
    """
    han = is_chinese(word)
    return [
        other
        for other in dict.fromkeys(candidates)
        if other != word
        and other == other.lower()
        and (other.isalpha() or PLAIN.fullmatch(other))
        and is_chinese(other) == han
        and (han or len(other) > 1)
        and not is_function_word(other)
    ]


def is_chinese(word: str) -> bool:
    """Return whether a word holds a Chinese character."""
    return not word.isascii() and IS_HAN.search(word) is not None


def count_words(texts: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Return how often each word occurs in the texts, in its most usual capitals, and in how many texts, lower-cased."""
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    texts_with = Counter[str]()
    for text in texts:
        words = words_of(text)
        for word in words:
            forms[word.lower()][word] += 1
        texts_with.update({word.lower() for word in words})
    counts = Counter({min(cased, key=lambda form: (-cased[form], form)): cased.total() for cased in forms.values()})
    return counts, texts_with
