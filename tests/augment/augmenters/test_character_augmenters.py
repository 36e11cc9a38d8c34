"""Noise in characters: typing, reading and spelling errors, other widths and scripts."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nlpaug.augmenter.char import KeyboardAug
from pypinyin import Style, lazy_pinyin

from pipeline import components
from pipeline.augment.augmenters.misspellings import english
from pipeline.augment.rewriting.lexicons import read_confusions
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.text.words import IS_HAN

ENGLISH = (
    "Firefighters don't stop: 150 people LEFT their houses (see http://t.co/Ab10 or ask @Bob_1) as #Wildfire smoke came"
)
CHINESE = "今天我们在公园里发现他们的头发很长，她说它再也不会在这里住了！"
MIXED = "我们用iPhone15拍照片，really good！他在New York工作，做了１００个 tests"
TEXTS = [ENGLISH, CHINESE, MIXED, "the people think that the weather is beautiful", "它在作什么？我们已经知道了。踏"]
NOTHING = ["", " \n ", "😀👍🏽", "...", "！？。", "http://t.co/Ab10", "@Bob_1"]
RESERVED = frozenset({"people", "new york", "我们", "发现", "wildfire", "left", "iPhone15"})
CORPUS = Corpus(TEXTS * 2)
HOMOPHONES = "他 它她踏\n它 他她\n在 再\n再 在\n里 理\n好 号\n"
LOOK_ALIKES = "己 已\n我 找\n大 太天\n们 \n他 地\n在 左\n住 往\n照 昭\n"
MISSPELLINGS = "people poeple peeple\nwildfire willdfire\nthink thinck\ngood goood\n公园 公圆\n工作 公作\n"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "keyboard": ("keyboard", {}),
    "keyboard with signs": ("keyboard", {"signs": True, "digits": True}),
    "ocr": ("ocr", {}),
    "insert": ("random_characters", {"action": "insert"}),
    "substitute": ("random_characters", {"action": "substitute"}),
    "swap": ("random_characters", {"action": "swap"}),
    "delete": ("random_characters", {"action": "delete"}),
    "misspellings": ("misspellings", {}),
    "own misspellings": ("misspellings", {"lexicon": MISSPELLINGS}),
    "homophones": ("homophones", {}),
    "homophones by tone": ("homophones", {"tone": True}),
    "own homophones": ("homophones", {"lexicon": HOMOPHONES}),
    "look_alikes": ("look_alikes", {"lexicon": LOOK_ALIKES}),
    "width": ("width", {}),
    "script": ("script", {}),
}
MANY = {"word_ratio": 1.0, "max_words": 100}
Build = Callable[..., Augmenter]


def made(name: str, corpus: Corpus = CORPUS, **options: Any) -> Augmenter:
    built: Augmenter = components.build("augmenters", name, options, corpus=corpus, device="cpu")
    return built


def variants(
    augmenter: Augmenter, *texts: str, n: int = 3, seed: int = 7, reserved: frozenset[str] = frozenset()
) -> list[list[str]]:
    seeds = [seed + position for position in range(len(texts))]
    return augmenter.augment(texts, n_variants=n, seeds=seeds, reserved=[reserved] * len(texts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def build_case(folder: Path) -> Build:
    """Builds one of CASES; the text of a lexicon is written to a file first."""

    def build(case: str, **more: Any) -> Augmenter:
        name, options = CASES[case]
        if "lexicon" in options:
            path = folder / f"{case}.txt"
            path.write_text(options["lexicon"], encoding="utf-8")
            options = {**options, "lexicon": str(path)}
        return made(name, **options, **more)

    return build


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def heavy(case: str) -> dict[str, Any]:
    return {} if case == "script" else MANY


def test_each_makes_variants_of_some_text(case: str, build_case: Build) -> None:
    found = variants(build_case(case), *TEXTS)
    assert any(found)
    for text, ones in zip(TEXTS, found, strict=True):
        assert text not in ones
        assert len(set(ones)) == len(ones) <= 3
        assert all(one == one.strip() and one for one in ones)


def test_reserved_terms_are_never_touched(case: str, build_case: Build) -> None:
    changed = 0
    for augmenter in (build_case(case), build_case(case, **heavy(case))):
        for seed in range(10):
            for text, ones in zip(TEXTS, variants(augmenter, *TEXTS, seed=seed, reserved=RESERVED), strict=True):
                kept = [term for term in ("people", "LEFT", "New York", "我们", "发现", "iPhone15") if term in text]
                assert all(one.count(term) >= text.count(term) for one in ones for term in kept), ones
                changed += len(ones)
    assert changed


@pytest.mark.parametrize("case", [case for case in CASES if case != "script"])
def test_a_text_of_which_every_word_is_reserved_has_no_variant(case: str, build_case: Build) -> None:
    text = "people 我们 left 发现"
    assert variants(build_case(case, **MANY), text, reserved=RESERVED) == [[]]


def test_same_seed_same_result_whatever_the_order_and_grouping(case: str, build_case: Build) -> None:
    augmenter, seeds, reserved = build_case(case), [5, 2**40, 0, 9, 5], [RESERVED, *[frozenset[str]()] * 4]
    together = augmenter.augment(TEXTS, n_variants=2, seeds=seeds, reserved=reserved)
    random.seed(99)
    again = build_case(case)
    rows = list(zip(TEXTS, seeds, reserved, strict=True))
    alone = [again.augment([text], n_variants=2, seeds=[seed], reserved=[terms])[0] for text, seed, terms in rows[::-1]]
    assert alone[::-1] == together


def test_the_first_variants_are_the_same_however_many_are_asked_for(case: str, build_case: Build) -> None:
    augmenter = build_case(case)
    few, many = variants(augmenter, *TEXTS, n=2), variants(augmenter, *TEXTS, n=6)
    assert [ones[: len(two)] for ones, two in zip(many, few, strict=True)] == few
    assert all(len(two) == min(2, len(ones)) for ones, two in zip(many, few, strict=True)) or case == "script"


def test_global_generators_are_left_as_they_were(case: str, build_case: Build) -> None:
    augmenter = build_case(case)
    states = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    variants(augmenter, *TEXTS)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]


@pytest.mark.parametrize("case", [case for case in CASES if case != "width"])
@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_words_has_no_variant(case: str, text: str, build_case: Build) -> None:
    assert variants(build_case(case, **heavy(case)), text) == [[]]


def test_an_empty_corpus_and_a_very_long_text_are_no_trouble(case: str, folder: Path, build_case: Build) -> None:
    name, options = CASES[case]
    if "lexicon" in options:
        build_case(case)
        options = {**options, "lexicon": str(folder / f"{case}.txt")}
    found = variants(made(name, Corpus([]), **options), MIXED * 300, n=1)
    assert len(found) == 1
    assert bool(found[0]) == (name not in ("random_characters", "homophones"))


@pytest.fixture(scope="module")
def all_built(build_case: Build) -> list[Augmenter]:
    return [build_case(case, **heavy(case)) for case in CASES]


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from("今们好再 fireABC１0.,!。#@'’\n\u3000😀é\u0301ßİ\u200d한かー")) | st.text())
def test_no_text_makes_any_of_them_fail(text: str, all_built: list[Augmenter]) -> None:
    for augmenter in all_built:
        (ones,) = variants(augmenter, text, n=2)
        assert text.strip() not in ones


CHINESE_CASES = [
    case
    for case in CASES
    if case not in ("keyboard", "keyboard with signs", "ocr", "misspellings", "width", "own misspellings")
]


@pytest.mark.parametrize("case", CHINESE_CASES)
def test_chinese_stays_chinese(case: str, build_case: Build) -> None:
    """No letter, blank or broken character comes in; length and signs are those of the text, as far as the action tells."""
    augmenter = build_case(case, **heavy(case))
    ones = [one for seed in range(10) for one in variants(augmenter, CHINESE, seed=seed)[0]]
    assert len(set(ones)) >= (1 if case in ("script", "look_alikes") else 3)
    for one in ones:
        assert re.sub(IS_HAN, "", one) == re.sub(IS_HAN, "", CHINESE) == "，！"
        assert {"insert": len(one) > len(CHINESE), "delete": len(one) < len(CHINESE)}.get(
            case, len(one) == len(CHINESE)
        )


@pytest.mark.parametrize("case", ["insert", "substitute", "homophones", "homophones by tone", "own homophones"])
def test_only_characters_of_the_corpus_come_in(case: str, build_case: Build) -> None:
    known = set("".join(TEXTS).lower())
    for one in variants(build_case(case, **MANY), *TEXTS, "一个陌生的句子", n=5):
        assert set("".join(one).lower()) <= known | set("一个陌生的句子")


def test_a_word_gets_letters_of_its_own_script_and_case() -> None:
    corpus = Corpus(["пожар в лесу", "abcabc", "好"])
    augmenter = made("random_characters", corpus, action="insert", **MANY)
    one = variants(augmenter, "пожары HELP 好好", n=1)[0][0]
    cyrillic, latin, chinese = one.split(" ")
    assert len(cyrillic) == 7 and set(cyrillic) <= set("пожарвлесуы")
    assert len(latin) == 5 and set(latin) <= set("HELPABC")
    assert chinese == "好好好"


def test_letters_come_as_often_as_the_corpus_has_them() -> None:
    corpus = Corpus(["是" * 95 + "龘" * 5])
    augmenter = made("random_characters", corpus, action="substitute", word_ratio=1.0, max_words=1)
    ones = [variants(augmenter, "去", n=1, seed=seed)[0][0] for seed in range(300)]
    assert 0.01 < ones.count("龘") / 300 < 0.1


@pytest.mark.parametrize("text", ["cat", "#go2", "2015", "9/11"])
@pytest.mark.parametrize("action", ["insert", "substitute", "swap", "delete"])
def test_short_words_and_numbers_keep_their_characters(action: str, text: str) -> None:
    corpus = Corpus([*TEXTS, text])
    assert variants(made("random_characters", corpus, action=action, **MANY), text)[0] == [] or text == "#go2"


def test_a_swap_leaves_the_same_letters_and_the_sign_of_a_topic() -> None:
    for seed in range(30):
        for one in variants(made("random_characters", action="swap", **MANY), "#fires 知道", seed=seed)[0]:
            assert sorted(one.lower()) == sorted("#fires 知道")
            assert one[0] == "#"


def test_a_keyboard_typo_is_a_neighbour_of_the_same_case() -> None:
    near = KeyboardAug().model.model
    augmenter = made("keyboard", **MANY)
    n_hit = 0
    for seed in range(20):
        for one in variants(augmenter, ENGLISH, seed=seed)[0]:
            assert len(one) == len(ENGLISH)
            for old, new in zip(ENGLISH, one, strict=True):
                if old != new:
                    n_hit += 1
                    assert new in near[old] and new.isalpha() and new.isupper() == old.isupper()
    assert n_hit > 100


def test_signs_and_digits_are_hit_only_when_asked() -> None:
    text = "wonderful 2024 weather"
    plain = "".join(one for seed in range(20) for one in variants(made("keyboard", **MANY), text, seed=seed)[0])
    asked = made("keyboard", signs=True, digits=True, character_ratio=1.0, max_characters=9, **MANY)
    signs = "".join(one for seed in range(20) for one in variants(asked, text, seed=seed)[0])
    assert set(re.sub(r"[a-z ]", "", plain)) == set("2024")
    assert set(re.sub(r"[a-z ]", "", signs)) > set("#@15")


@pytest.mark.parametrize(("layout", "text"), [("de", "zusammen arbeiten"), ("uk", "пожежа сьогодні")])
def test_other_alphabets_have_their_keyboards(layout: str, text: str) -> None:
    ones = variants(made("keyboard", layout=layout, **MANY), text)[0]
    assert ones and all(one.replace(" ", "").isalpha() for one in ones)


def test_few_words_and_characters_change_by_default() -> None:
    text = " ".join(
        f"{word}ing" for word in ["read", "walk", "paint", "sing", "think", "jump", "start", "burn", "help"]
    )
    for name in ("keyboard", "ocr", "random_characters"):
        for one in variants(made(name), text, n=5)[0]:
            differs = [(old, new) for old, new in zip(text.split(), one.split(), strict=True) if old != new]
            assert len(differs) == 1
            assert sum(a != b for a, b in zip(*differs[0], strict=True)) == 1


def test_max_words_holds() -> None:
    text = "wonderful " * 50
    for one in variants(made("keyboard", word_ratio=1.0, max_words=3), text)[0]:
        assert 0 < sum(word != "wonderful" for word in one.split()) <= 3


def test_ocr_takes_one_sign_for_a_similar_one() -> None:
    ones = {one for seed in range(20) for one in variants(made("ocr"), "OK 05", seed=seed)[0]}
    assert ones <= {f"{first}K 05" for first in "DU0"} | {f"OK {first}5" for first in "89oOD"} | {"OK 08"}
    assert len(ones) > 5


def test_a_misspelling_is_one_of_the_lexicon_in_the_capitals_of_the_word(build_case: Build) -> None:
    augmenter = build_case("own misspellings", **MANY)
    assert set(variants(augmenter, "PEOPLE", n=6)[0]) == {"POEPLE", "PEEPLE"}
    assert set(variants(augmenter, "People", n=6)[0]) == {"Poeple", "Peeple"}
    assert variants(augmenter, "poeple") == [[]]
    assert set(variants(augmenter, "我们去公园工作", n=6)[0]) >= {"我们去公圆公作"}


def test_each_augmenter_has_its_own_lexicon(build_case: Build) -> None:
    first, second = build_case("own misspellings", **MANY), made("misspellings", **MANY)
    assert variants(first, "hierarchically") == [[]]
    assert variants(second, "hierarchically") == [["hierachically"]]
    assert variants(first, "wildfire") == [["willdfire"]]


def test_the_english_lexicon_misspells_words_only() -> None:
    lexicon = english()
    assert len(lexicon) > 10_000 and "the" in lexicon
    assert not [one for others in lexicon.values() for one in others if re.search(r"[\d_\[\]?]", one)]


def same_sound(old: str, new: str, style: Style) -> bool:
    return lazy_pinyin(old, style=style) == lazy_pinyin(new, style=style)


@pytest.mark.parametrize(("tone", "style"), [(False, Style.NORMAL), (True, Style.TONE3)])
def test_homophones_sound_alike(tone: bool, style: Style) -> None:
    augmenter = made("homophones", tone=tone, **MANY)
    pairs = {
        (old, new)
        for seed in range(20)
        for one in variants(augmenter, CHINESE, seed=seed)[0]
        for old, new in zip(CHINESE, one, strict=True)
        if old != new
    }
    assert ("她", "它") in pairs
    assert all(same_sound(old, new, style) for old, new in pairs)
    assert all(same_sound(old, new, Style.TONE3) for old, new in pairs) == tone


def test_common_homophones_are_written_more_often(tmp_path: Path) -> None:
    corpus = Corpus(["他" * 90 + "它" * 10, "她"])
    (tmp_path / "sounds.txt").write_text("她 踏它他\n", encoding="utf-8")
    for options in ({}, {"lexicon": str(tmp_path / "sounds.txt")}):
        augmenter = made("homophones", corpus, **options)
        ones = [variants(augmenter, "她", n=1, seed=seed)[0][0] for seed in range(300)]
        assert set(ones) == {"他", "它"}
        assert 0.03 < ones.count("它") / 300 < 0.2


def test_look_alikes_are_taken_for_each_other_both_ways(build_case: Build) -> None:
    augmenter = build_case("look_alikes", **MANY)
    assert variants(augmenter, "找") == [["我"]]
    assert variants(augmenter, "我") == [["找"]]
    assert set(variants(augmenter, "大", n=6)[0]) == {"太", "天"}


def test_width_goes_there_and_back() -> None:
    text = "Only 3.5% (ok)! 你好，“世界”。"
    everything = {"word_ratio": 1.0, "max_words": 100}
    (full,) = variants(made("width", direction="full", **everything), text)[0]
    assert full == "Ｏｎｌｙ ３．５％ （ｏｋ）！ 你好，“世界”。"
    (half,) = variants(made("width", direction="half", **everything), full)[0]
    assert half == text.replace("，", ",")
    (other,) = variants(made("width", **everything), "ab，ＣＤ!")[0]
    assert other == "ａｂ,CD！"


def test_width_leaves_links_and_names_alone_but_not_signs() -> None:
    augmenter = made("width", **MANY)
    assert variants(augmenter, "http://t.co/Ab10", "@Bob_1", "😀", "。", "？") == [[], [], [], [], ["?"]]


def test_script_is_converted_by_phrases() -> None:
    assert variants(made("script"), "头发发展后来皇后") == [["頭髮發展後來皇后"]]
    assert variants(made("script", direction="to_simplified"), "頭髮發展後來皇后") == [["头发发展后来皇后"]]
    assert variants(made("script", direction="to_simplified"), "头发") == [[]]
    assert variants(made("script", direction="to_traditional"), "头发 and hair") == [["頭髮 and hair"]]


def test_a_text_in_both_scripts_has_two_variants() -> None:
    assert sorted(variants(made("script"), "头发頭髮", n=4)[0]) == ["头发头发", "頭髮頭髮"]


def test_script_spares_reserved_terms() -> None:
    reserved = frozenset({"头发", "发"})
    assert variants(made("script"), "头发发展很多国家", reserved=reserved) == [["头发发展很多國家"]]
    assert variants(made("script"), "头发", reserved=reserved) == [[]]


BROKEN = {
    "a word for a character": ("他 她\n他们 它\n", ":2: must hold one character, a blank and the characters"),
    "a third field": ("他 她\n\n我 找 代\n", ":3: must hold one character.*got '我 找 代'"),
    "no UTF-8": ("他 她\n我 找\n".encode() + "好".encode("gb18030"), ":3: must be UTF-8"),
    "nothing": ("\n \n", ": must hold a word per line, got an empty file"),
}


@pytest.mark.parametrize("name", ["homophones", "look_alikes"])
@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_confusion_file_is_named_with_its_line(name: str, problem: str, tmp_path: Path) -> None:
    content, message = BROKEN[problem]
    path = tmp_path / "confusions.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParamsError, match=f"confusions.txt{message}"):
        made(name, lexicon=str(path))


def test_a_broken_lexicon_of_misspellings_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("people poeple\nfire,fier\n", encoding="utf-8")
    with pytest.raises(ParamsError, match="words.txt:2: must hold a word and its misspellings.*got 'fire,fier'"):
        made("misspellings", lexicon=str(path))


@pytest.mark.parametrize("name", ["homophones", "look_alikes", "misspellings"])
def test_a_missing_lexicon_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="none.txt: must be a file, got none"):
        made(name, lexicon=str(tmp_path / "none.txt"))


def test_lines_of_one_character_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "confusions.txt"
    path.write_bytes("﻿他 她他\r\n\r\n他 它她\r\n们 \r\n".encode())
    assert read_confusions(path) == {"他": ["她", "它"]}


@pytest.mark.parametrize("action", ["insert", "substitute", "swap", "delete"])
def test_D13_characters_change_with_their_marks(action: str) -> None:
    """Noise in characters leaves no mark without its letter."""
    texts = ["हिन्दी लिखना नमस्कार आसान भारतीय", "สวัสดีครับวันนี้อากาศดี", "مُحَمَّدٌ رَسُولٌ كَبِيرٌ جِدّاً"]
    augmenter = made("random_characters", Corpus(texts * 3), action=action, **MANY)
    variants = augmenter.augment(texts, n_variants=5, seeds=[1, 2, 3], reserved=[frozenset()] * 3)
    words = [word for of_text in variants for text in of_text for word in text.split()]
    assert all(map(len, variants)) and all(word[0].isalpha() for word in words)
