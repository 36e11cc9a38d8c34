"""The demo competition: a small synthetic bilingual data set that needs no download; no sentence in it is anybody's.

Reports on invented household things, in English and Chinese, labelled pleased, annoyed, neutral or mixed. Some rows are
decided by one word; in others the same words give another label by negation, by which day a word belongs to, or by
whether two clauses speak of the same thing, so that a bag of words fails and models differ.
"""

import csv
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import write_atomically
from pipeline.errors.exceptions import DataError
from pipeline.reproducibility import derive_seed

LABELS = ("annoyed", "mixed", "neutral", "pleased")
SHARES = (0.33, 0.1, 0.22, 0.35)
LABEL_NOISE_RATIO = 0.09
COPY_RATIO = 0.03
NEAR_COPY_RATIO = 0.03
SCRAP_RATIO = 0.015
SCRAPS = {**dict.fromkeys(("", " ", "…", "？？")), "👍": "pleased", "👎": "annoyed", "😡": "annoyed", "🤷": "neutral"}
"""Texts with next to nothing in them, and the label that a few of them mean."""

CONSTRUCTIONS: dict[str, dict[str, int]] = {
    "pleased": {"plain": 52, "negated": 20, "turned": 16, "settled": 12},
    "annoyed": {"plain": 52, "negated": 20, "turned": 16, "settled": 12},
    "mixed": {"split": 75, "half": 25},
    "neutral": {"fact": 65, "asked": 35},
}
"""How often a label is expressed in which way; the ways are the keys of `Language.templates`."""

FILES = ("train.csv", "test.csv", "sample_submission.csv", "README.txt")
README = """SYNTHETIC DATA, written by a program (stitchfold's demo competition, seed {seed}).

No sentence was said by anybody, nothing in it is true, and a score on it says nothing about real texts.
train.csv: {n_train} rows (id, synthetic_text, label); test.csv: {n_test} rows (id, synthetic_text).
sample_submission.csv: the ids of test.csv with the commonest label. The labels of test.csv are written nowhere.
Languages: English and Chinese. Labels: {labels}. About {noise:.0%} of the labels are wrong on purpose.
"""


@dataclass(frozen=True)
class Language:
    """Word lists, written with blanks between the words, and sentence frames of one language.

    In a frame, {thing} and {other} are two different things, {right} is a word of the label's side, {wrong} one of the
    opposite side, {number} a number and {place} a place.
    """

    blank: str
    things: str
    good: str
    bad: str
    places: str
    fillers: str
    templates: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Row:
    """A text, the label it expresses and the label it is given."""

    text: str
    meant: str
    label: str


ENGLISH = Language(
    blank=" ",
    things="lamp kettle door curtain heater drawer mirror blanket fan shelf clock basket",
    good="bright solid handy smooth quiet sturdy neat pleasant reliable",
    bad="dim wobbly clumsy rough noisy brittle messy unpleasant faulty",
    places="kitchen hall attic cellar garage balcony",
    fillers="well anyway honestly today's note again here so really just now indeed okay friends",
    templates={
        "plain": (
            "the {thing} in the {place} is {right}",
            "what a {right} {thing} for the {place}",
            "this {thing} feels {right} and also {right}",
        ),
        "negated": (
            "the {thing} is not {wrong} at all",
            "nobody in the {place} would ever call the {thing} {wrong}",
            "i can not say that the {thing} looks {wrong}",
        ),
        "turned": (
            "yesterday the {thing} seemed rather {wrong} but today the {thing} seemed rather {right}",
            "today the {thing} seemed rather {right} but yesterday the {thing} seemed rather {wrong}",
        ),
        "settled": (
            "the {thing} was {wrong} at first and after a while the {thing} was {right}",
            "we found the {thing} {wrong} and then we found the {thing} {right}",
        ),
        "split": (
            "the {thing} was {wrong} at first and after a while the {other} was {right}",
            "we found the {thing} {wrong} and then we found the {other} {right}",
        ),
        "half": (
            "the {thing} is {right} by half and {wrong} by half",
            "partly {right} , partly {wrong} , that {thing}",
        ),
        "fact": (
            "the {thing} stands in the {place} and weighs {number} grams",
            "they brought {number} boxes with a {thing} to the {place}",
        ),
        "asked": ("does anyone know whether the {thing} is {right}", "is a {right} {thing} sold near the {place} ?"),
    },
)
CHINESE = Language(
    blank="",
    things="台灯 水壶 木门 窗帘 暖炉 抽屉 镜子 毛毯 风扇 书架 闹钟 篮子",
    good="明亮 结实 顺手 光滑 安静 牢固 整洁 舒服 可靠",
    bad="昏暗 摇晃 笨重 粗糙 吵闹 易碎 凌乱 难受 失灵",
    places="厨房 走廊 阁楼 地窖 车库 阳台",
    fillers="嗯 话说 其实 说真的 记录一下 又来了 大家好 刚才 就这样 好吧 随便写写 哈",
    templates={
        "plain": ("{place}里的{thing}很{right}", "给{place}买的{thing}真{right}", "这个{thing}又{right}又{right}"),
        "negated": (
            "这个{thing}一点也不{wrong}",
            "{place}里没有谁会觉得{thing}{wrong}",
            "我不能说这{thing}看着{wrong}",
        ),
        "turned": (
            "昨天{thing}显得比较{wrong}，今天{thing}显得比较{right}",
            "今天{thing}显得比较{right}，昨天{thing}显得比较{wrong}",
        ),
        "settled": (
            "起初{thing}是{wrong}的，过一阵{thing}是{right}的",
            "先是觉得{thing}{wrong}，接着觉得{thing}{right}",
        ),
        "split": ("起初{thing}是{wrong}的，过一阵{other}是{right}的", "先是觉得{thing}{wrong}，接着觉得{other}{right}"),
        "half": ("这{thing}一半{right}一半{wrong}", "有些{right}，也有些{wrong}，这个{thing}"),
        "fact": ("{thing}放在{place}，重{number}克", "他们往{place}送了{number}箱{thing}"),
        "asked": ("有谁知道{thing}是不是{right}", "{place}附近有卖{right}的{thing}吗？"),
    },
)


def generate(folder: Path, *, seed: int = 0, n_train: int = 600, n_test: int = 200) -> None:
    """Write train.csv, test.csv, sample_submission.csv and README.txt; equal arguments give equal bytes.

    Raises:
        DataError: if the folder holds files of these names that are not a demo's.
    """
    readme = folder / "README.txt"
    used = [name for name in FILES if (folder / name).exists()]
    if used and not (readme.is_file() and readme.read_bytes().startswith(README.partition(",")[0].encode())):
        raise DataError(
            f"{folder}: must be empty or hold an earlier demo, got {used}. Name another folder, or move them."
        )
    text = README.format(seed=seed, n_train=n_train, n_test=n_test, labels=", ".join(LABELS), noise=LABEL_NOISE_RATIO)
    write_atomically(readme, text.encode())  # first: what was begun and killed is known as a demo's
    rows = draw_rows(n_train + n_test, seed=seed)
    ids = [f"s{number:04d}" for number in range(1, len(rows) + 1)]
    train = [(row_id, row.text, row.label) for row_id, row in zip(ids, rows[:n_train], strict=False)]
    test = [(row_id, row.text) for row_id, row in zip(ids[n_train:], rows[n_train:], strict=True)]
    commonest = LABELS[SHARES.index(max(SHARES))]
    write_atomically(folder / "train.csv", _csv([("id", "synthetic_text", "label"), *train]))
    write_atomically(folder / "test.csv", _csv([("id", "synthetic_text"), *test]))
    write_atomically(
        folder / "sample_submission.csv", _csv([("id", "label"), *((row_id, commonest) for row_id, _ in test)])
    )


def write_lexicon(path: Path) -> None:
    """Write which words of the demo may stand for one another, a line per word: `word synonym synonym...`."""
    lines = []
    for language in (ENGLISH, CHINESE):
        for words in (language.things, language.good, language.bad, language.places):
            known = [word for word in words.split() if word.isalpha()]
            lines += [" ".join([word, *(other for other in known if other != word)]) for word in known]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def draw_rows(n_rows: int, *, seed: int) -> list[Row]:
    """Return rows with their meant and their given labels.

    A few copy or nearly copy an earlier row's text and draw their own label noise, so copies may contradict each other.

    >>> draw_rows(3, seed=5) == draw_rows(9, seed=5)[:3]
    True
    """
    rng = random.Random(derive_seed(seed, "demo"))
    rows: list[Row] = []
    for _ in range(n_rows):
        chance = rng.random()
        if rows and chance < COPY_RATIO + NEAR_COPY_RATIO:
            earlier = rng.choice(rows)
            text, meant = earlier.text + rng.choice(("!", "。", " .")) * (chance >= COPY_RATIO), earlier.meant
        elif chance > 1 - SCRAP_RATIO:
            text = rng.choice(list(SCRAPS))
            meant = SCRAPS[text] or _draw_label(rng)
        else:
            meant = _draw_label(rng)
            text = _draw_text(rng, rng.choice((ENGLISH, CHINESE)), meant)
        wrong = rng.choice([label for label in LABELS if label != meant])
        rows.append(Row(text, meant, wrong if rng.random() < LABEL_NOISE_RATIO else meant))
    return rows


def _draw_label(rng: random.Random) -> str:
    return rng.choices(LABELS, weights=SHARES)[0]


def _draw_text(rng: random.Random, language: Language, label: str) -> str:
    ways = CONSTRUCTIONS[label]
    way = rng.choices(list(ways), weights=list(ways.values()))[0]
    sides = [language.good.split(), language.bad.split()]
    if label == "annoyed" or (label in ("mixed", "neutral") and rng.random() < 0.5):
        sides.reverse()
    thing, other = rng.sample(language.things.split(), 2)
    text = rng.choice(language.templates[way])
    # One placeholder at a time, so that a word that stands twice in a frame is drawn twice; the thing stays the same.
    for name, words in (("{right}", sides[0]), ("{wrong}", sides[1]), ("{place}", language.places.split())):
        while name in text:
            text = text.replace(name, rng.choice(words), 1)
    text = text.replace("{thing}", thing).replace("{other}", other).replace("{number}", str(rng.randint(2, 98) * 5))
    fillers = language.fillers.split()
    before, after = ([rng.choice(fillers) for _ in range(rng.randint(0, 2))] for _ in range(2))
    return (language.blank or "，").join([*before, text, *after])


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode("utf-8")
