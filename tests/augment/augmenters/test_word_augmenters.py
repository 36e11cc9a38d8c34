"""Augmenters that work word by word: synonyms, word vectors, TF-IDF, random words, split words."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import components
from pipeline.augment.rewriting.lexicons import read_synonyms
from pipeline.augment.rewriting.spans import Cutter, cut_spans, joined, term_spans
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError

ENGLISH = [
    "Big fire near the river in New York, people run!",
    "We were happy that a careful escape was possible",
    "FIRE! The FIRE is big and people run to the river",
    "@bob the people of the river are happy http://t.co/x1 😀",
]
CHINESE = ["今天公园很漂亮，我们很高兴", "老师说今天的公园漂亮", "我们高兴地去公园看老师", "今天我们去看漂亮的火车"]
MIXED = ["今天fire很big，我们happy", "We去公园 run"]
TEXTS = [*ENGLISH, *CHINESE, *MIXED]
NOTHING = ["", "  ", "\n\u3000", "😀👍🏽", "!!! ... ?!", "。。。！", "http://t.co/abcd @bob", "\ud83d", "12 000"]

SYNONYMS = """\
fire blaze flame
big large huge

happy glad unhappy sad joyful
possible feasible impossible
careful cautious careless
run jog sprint
people folks persons
river stream brook
"""
CILIN = """\
Aa01A01= 公园 园林
Bb01A01= 高兴 快乐 不高兴 伤心
Cc01A01= 今天 今日
Dd01A01= 漂亮 美丽 好看
Ee01A01# 老师 学生
Ee01A02@ 火车
"""
VECTORS = """\
fire 1 0 0 0
blaze 0.9 0.1 0 0
river 0 1 0 0
stream 0 0.9 0.1 0
people 0 0 1 0
folks 0 0 0.9 0.1
water 0.3 0.7 0.3 0
公园 0 0 0 1
园林 0 0 0.1 1
今天 0.5 0 0 -1
今日 0.5 0.1 0 -1
the 0 0 -1 0
of 0 0 -1 0.1
"""
CASES = [
    "synonyms-en", "synonyms-zh", "word_vectors", "tfidf", "swap", "delete", "crop", "substitute", "word_split"
]  # fmt: skip
REPLACING = ["synonyms-en", "synonyms-zh", "word_vectors", "tfidf", "substitute"]
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    contents = {"en.txt": SYNONYMS, "zh.txt": CILIN, "vectors.txt": VECTORS, "antonyms.txt": "happy sad\n伤心 高兴\n"}
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def make(case: str, files: Path, texts: list[str] = TEXTS, **options: Any) -> Any:
    name, given = {
        "synonyms-en": ("synonyms", {"lexicon": str(files / "en.txt")}),
        "synonyms-zh": ("synonyms", {"lexicon": str(files / "zh.txt")}),
        "word_vectors": ("word_vectors", {"path": str(files / "vectors.txt")}),
        **{action: ("random_words", {"action": action}) for action in ("swap", "delete", "crop", "substitute")},
    }.get(case, (case, {}))
    return components.build("augmenters", name, {**given, **options}, corpus=Corpus(texts), device="cpu")


def variants(
    augmenter: Any, texts: list[str], *, n: int = 3, seed: int = 0, reserved: frozenset[str] = frozenset()
) -> list[list[str]]:
    seeds = [seed + row for row in range(len(texts))]
    found: list[list[str]] = augmenter.augment(texts, n_variants=n, seeds=seeds, reserved=[reserved] * len(texts))
    return found


def all_variants(augmenter: Any, texts: list[str], *, n_seeds: int = 20, **options: Any) -> list[tuple[str, str]]:
    return [
        (text, variant)
        for seed in range(n_seeds)
        for text, found in zip(texts, variants(augmenter, texts, seed=100 * seed, **options), strict=True)
        for variant in found
    ]


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in cut_spans(text)]


@pytest.mark.parametrize("name", ["synonyms", "word_vectors", "tfidf", "random_words", "word_split"])
def test_word_augmenters_say_that_they_can_spare_words(name: str) -> None:
    assert components.constant("augmenters", name, "SPARES") is True


@every_case
def test_reserved_terms_are_never_touched(case: str, files: Path) -> None:
    reserved = frozenset({"fire", "new york", "happy", "公园", "😀"})
    found = all_variants(make(case, files, word_ratio=1.0), TEXTS, reserved=reserved)
    assert found
    for text, variant in found:
        kept = [Counter(one[start:end] for start, end in term_spans(one, reserved)) for one in (text, variant)]
        assert kept[0] <= kept[1]


@every_case
def test_the_same_seed_gives_the_same_whatever_stands_beside(case: str, files: Path) -> None:
    augmenter = make(case, files, word_ratio=0.4)
    together = variants(augmenter, TEXTS)
    backwards = [variants(augmenter, [TEXTS[row]], seed=row)[0] for row in reversed(range(len(TEXTS)))]
    assert together == backwards[::-1] == variants(make(case, files, word_ratio=0.4), TEXTS)
    assert together != variants(augmenter, TEXTS, seed=50)


@every_case
def test_the_first_variants_are_the_same_however_many_are_asked_for(case: str, files: Path) -> None:
    augmenter = make(case, files, word_ratio=0.4)
    many = variants(augmenter, TEXTS, n=4)
    assert max(map(len, many)) > 1
    for n in (1, 2):
        fewer = variants(augmenter, TEXTS, n=n)
        assert [found[: len(few)] for found, few in zip(many, fewer, strict=True)] == fewer
        assert all(fewer[row] for row, found in enumerate(many) if found)


@every_case
@pytest.mark.parametrize("word_ratio", [0.1, 1.0])
def test_no_variant_equals_its_text_or_another_variant(case: str, word_ratio: float, files: Path) -> None:
    found = variants(make(case, files, word_ratio=word_ratio), TEXTS, n=6)
    for text, made in zip(TEXTS, found, strict=True):
        assert text not in made and len(set(made)) == len(made) and all(one.strip() for one in made)


@every_case
@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_words_has_no_variants(case: str, text: str, files: Path) -> None:
    assert variants(make(case, files, word_ratio=1.0), [text, TEXTS[0], TEXTS[4]])[0] == []


@every_case
def test_a_text_of_thousands_of_words_loses_at_most_max_words(case: str, files: Path) -> None:
    text = " ".join(["people run to the big river"] * 1000) + "今天公园很漂亮" * 300
    (found,) = variants(make(case, files, max_words=2), [text], n=1)
    gone = Counter(words_of(text)) - Counter(words_of(found[0]))
    assert (gone or case == "swap") and gone.total() <= 2


@pytest.mark.parametrize("case", ["synonyms-en", "synonyms-zh", "word_vectors"])
@pytest.mark.parametrize("text", ["the of and it is not", "It's what THE others don’t", "我们的都在了", "没有不是"])
def test_words_that_only_carry_grammar_are_not_replaced(case: str, text: str, files: Path, tmp_path: Path) -> None:
    for name, content in (
        ("en.txt", "the an\nnot but\n"),
        ("zh.txt", "Aa01A01= 我们 吾辈\n"),
        ("vectors.txt", VECTORS),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert variants(make(case, tmp_path, word_ratio=1.0), [text]) == [[]]


@every_case
def test_chinese_variants_hold_no_blanks(case: str, files: Path) -> None:
    found = all_variants(make(case, files, word_ratio=0.5), CHINESE)
    assert found or case in ("synonyms-en", "word_split")
    assert not [variant for _, variant in found if re.search(r"\s", variant)]


def test_chinese_words_are_not_split(files: Path) -> None:
    augmenter = make("word_split", files, word_ratio=1.0, min_word_length=3)
    assert variants(augmenter, ["中华人民共和国万岁"]) == [[]]
    assert all("中华人民共和国" in one for one in variants(augmenter, ["中华人民共和国windows"])[0])


@pytest.mark.parametrize("case", REPLACING)
def test_whole_words_are_replaced_by_whole_words(case: str, files: Path) -> None:
    written = {"synonyms-en": SYNONYMS, "synonyms-zh": CILIN, "word_vectors": VECTORS}.get(case)
    known = written.split() if written else [word for text in TEXTS for word in words_of(text)]
    others = "|".join(map(re.escape, sorted({*known}, key=len, reverse=True)))
    found = all_variants(make(case, files, word_ratio=1.0), CHINESE + ENGLISH)
    assert len(found) > 20
    for text, variant in found:
        parts = [rf"(?:{re.escape(word)}|{others})" for word in words_of(text)]
        assert re.fullmatch(r"\s*".join(parts), variant, re.IGNORECASE)


def test_blanks_and_signs_stand_as_they_stood(files: Path) -> None:
    found = all_variants(make("synonyms-en", files, word_ratio=1.0), ["Oh  (fire),\n\tbig...fire!  "], n_seeds=8)
    pattern = r"Oh  \((Blaze|blaze|flame)\),\n\t(large|huge)\.\.\.(blaze|flame)!"
    assert found and all(re.fullmatch(pattern, variant) for _, variant in found)


@pytest.mark.parametrize("case", ["delete", "swap", "substitute", "crop"])
def test_words_of_two_scripts_never_run_into_one(case: str, files: Path) -> None:
    augmenter = make(case, files, ["I love 你们 you"], word_ratio=0.4)
    found = all_variants(augmenter, ["I爱you", "love你们you"])
    assert found and not re.search(r"[A-Za-z]{5,}|Iyou|Ilove|youI", " ".join(variant for _, variant in found))


@given(text=st.text(st.sampled_from("今天公园 abAB'’@#_-.,!?(1２ \t\n　😀👍🏽é\u0301\u200d_")) | st.text())
@settings(max_examples=100, deadline=None)
def test_words_that_were_not_changed_join_to_their_text(text: str) -> None:
    assert joined(Cutter().cut(text.strip())) == text.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("fire", "blaze"), ("Fire", "Blaze"), ("FIRE", "BLAZE"), ("A FIRE, a Fire", "A BLAZE, a Blaze")],
)
def test_capitals_are_kept(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("fire blaze\n", encoding="utf-8")
    assert variants(make("synonyms-en", tmp_path, word_ratio=1.0), [text], n=2) == [[expected]]


def test_a_text_goes_on_beginning_with_a_capital(files: Path) -> None:
    found = all_variants(make("delete", files, word_ratio=0.5), ["Fire near big rivers"])
    assert found and all(variant[0].isupper() for _, variant in found)
    kept = all_variants(make("delete", files, word_ratio=0.5), ["Fire iPhone"], reserved=frozenset({"iphone"}))
    assert {variant for _, variant in kept} == {"iPhone"}


def written_for(word: str, augmenter: Any) -> set[str]:
    return {variant for _, variant in all_variants(augmenter, [word], n_seeds=30)}


@pytest.mark.parametrize(
    ("case", "word", "expected"),
    [
        ("synonyms-en", "happy", {"glad", "joyful"}),
        ("synonyms-en", "possible", {"feasible"}),
        ("synonyms-en", "careful", {"cautious"}),
        ("synonyms-zh", "高兴", {"快乐"}),
    ],
)
def test_antonyms_are_never_written(case: str, word: str, expected: set[str], files: Path) -> None:
    assert written_for(word, make(case, files, antonyms=str(files / "antonyms.txt"))) == expected


def test_an_antonym_that_only_the_file_knows_needs_the_file(files: Path) -> None:
    assert written_for("happy", make("synonyms-en", files)) == {"glad", "joyful", "sad"}


def test_related_words_of_cilin_are_written_only_when_asked_for(files: Path) -> None:
    assert written_for("老师", make("synonyms-zh", files)) == set()
    assert written_for("老师", make("synonyms-zh", files, related=True)) == {"学生"}
    assert written_for("火车", make("synonyms-zh", files, related=True)) == set()


def test_only_words_of_the_corpus_are_written_when_asked_for(files: Path) -> None:
    texts = ["Huge flame", "a stream"]
    augmenter = make("synonyms-en", files, texts, known_only=True)
    assert [written_for(word, augmenter) for word in ("big", "fire", "run")] == [{"huge"}, {"flame"}, set()]


def test_numbers_signs_and_names_of_a_lexicon_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("fire 911 -fire b2b Flame 火 blaze\n360 361\n", encoding="utf-8")
    augmenter = make("synonyms-en", tmp_path)
    assert [written_for(word, augmenter) for word in ("fire", "360")] == [{"blaze"}, set()]


def test_ppdb_is_read_in_its_own_format_and_exclusion_is_no_synonymy(tmp_path: Path) -> None:
    lines = [
        "[NN] ||| fire ||| blaze ||| a=1 ||| 0-0 ||| Equivalence",
        "[NN] ||| fire ||| ice ||| a=1 ||| 0-0 ||| Exclusion",
    ]
    (tmp_path / "en.txt").write_text(
        "\n".join([*lines, lines[1].replace("Exclusion", "Equivalence")]), encoding="utf-8"
    )
    assert written_for("fire", make("synonyms-en", tmp_path)) == {"blaze"}


WORDNET = {
    "data.adj": [
        "  1 This software and database is being provided to you, the LICENSEE, by",
        "00000001 00 a 02 hot 0 warm(a) 0 001 ! 00000003 a 0101 | of high temperature",
        "00000002 00 s 03 hot 1 cold 1 spicy 0 000 | odd, but it groups antonyms",
        "00000003 00 a 02 cold 0 chilly 0 001 ! 00000001 a 0101 | of low temperature",
    ],
    "data.noun": ["00000001 00 n 03 fire 0 blaze 0 open_fire 0 001 @ 00000009 n 0000 | combustion"],
}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    for name, lines in WORDNET.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("file", ["", "data.noun"])
def test_wordnet_is_read_from_its_folder_or_a_file_and_its_antonyms_are_kept_out(file: str, wordnet: Path) -> None:
    augmenter = make("synonyms-en", wordnet, lexicon=str(wordnet / file))
    words = ("hot", "cold", "fire", "fires")
    assert [written_for(word, augmenter) for word in words] == [
        {"warm", "spicy"},
        {"chilly", "spicy"},
        {"blaze"},
        set(),
    ]


def test_wordnet_can_give_the_antonyms_of_another_lexicon(wordnet: Path) -> None:
    (wordnet / "en.txt").write_text("hot cold torrid\n", encoding="utf-8")
    augmenter = make("synonyms-en", wordnet, antonyms=str(wordnet / "data.adj"))
    assert written_for("hot", augmenter) == {"torrid"}


def test_an_antonym_is_kept_out_whichever_of_the_two_the_file_names_first(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("hot cold torrid\ncold hot icy\n", encoding="utf-8")
    (tmp_path / "antonyms.txt").write_text("hot cold\n", encoding="utf-8")
    augmenter = make("synonyms-en", tmp_path, antonyms=str(tmp_path / "antonyms.txt"))
    assert [written_for(word, augmenter) for word in ("hot", "cold")] == [{"torrid"}, {"icy"}]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("fire blaze\nriver\n", 2),
        ("Aa01A01= 公园 园林\n\n公园 园林\n", 3),
        ("Aa01A01= 公园 园林\nAa01A02=\n", 2),
        ("[NN] ||| fire ||| blaze ||| x\n[NN] ||| fire\n", 2),
        (b"fire blaze\n\xb9\xab\xd4\xb0 x\n", 2),
    ],
)
def test_a_broken_line_is_named_with_its_file(content: str | bytes, line: int, tmp_path: Path) -> None:
    path = tmp_path / "en.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParamsError, match=rf"{re.escape(str(path))}:{line}: must "):
        make("synonyms-en", tmp_path)


def test_a_broken_line_of_wordnet_is_named_with_its_file(wordnet: Path) -> None:
    (wordnet / "data.verb").write_text("00000001 30 v 0x run 0 000 | go\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"data\.verb:1: must hold a synset"):
        make("synonyms-en", wordnet, lexicon=str(wordnet))


@pytest.mark.parametrize(
    ("case", "options", "message"),
    [
        ("synonyms-en", {"lexicon": "models/none.txt"}, r"models/none\.txt: must be a file"),
        ("synonyms-en", {"antonyms": "models/none.txt"}, r"models/none\.txt: must be a file"),
        ("synonyms-en", {"format": "wordnet"}, r"must hold WordNet's data\.noun"),
        ("synonyms-en", {"format": "cilin"}, r"en\.txt:1: must hold a code such as Aa01A02="),
        ("word_vectors", {"path": "models/none.txt"}, r"word_vectors\.path: .* got 'models/none\.txt'"),
        ("word_vectors", {"texts": ["unheard", "words"]}, r"vectors\.txt: must know words of the texts, got none of 2"),
    ],
)
def test_a_wrong_option_says_what_to_do(case: str, options: dict[str, Any], message: str, files: Path) -> None:
    with pytest.raises(ParamsError, match=message):
        make(case, files, **options)


def test_neighbours_are_as_near_as_asked_for(files: Path) -> None:
    near, nearest = (
        written_for("river", make("word_vectors", files, **options))
        for options in ({"min_similarity": 0.6}, {"min_similarity": 0.6, "top_k": 1})
    )
    assert near == {"stream", "water"} and nearest == {"stream"}
    assert written_for("river", make("word_vectors", files, min_similarity=0.9)) == {"stream"}
    assert written_for("公园", make("word_vectors", files)) == {"园林"}


def test_vectors_beyond_the_corpus_and_n_words_are_not_kept(files: Path) -> None:
    augmenter = make("word_vectors", files, ["fire"], n_words=1, min_similarity=-1.0)
    assert augmenter.augmenter.replacements("fire") == ["blaze"]
    assert len(make("word_vectors", files, ["fire"], n_words=9, min_similarity=-1.0).augmenter.replacements("fire")) > 1


def test_a_broken_line_of_the_vectors_is_named(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("fire 1 0\nriver 1\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"vectors\.txt:2: "):
        make("word_vectors", tmp_path)


def test_informative_words_stay_and_uninformative_ones_are_written(files: Path) -> None:
    texts = [f"the man is in the house and the {word} is in the shop" for word in ("zebra", "comet", "lemon", "piano")]
    found = all_variants(make("tfidf", files, texts, word_ratio=0.5), texts)
    assert len(found) > 20
    rare = {"zebra", "comet", "lemon", "piano"}
    for text, variant in found:
        assert rare & set(text.split()) == rare & set(variant.split())


def test_in_a_corpus_of_one_text_no_word_is_uninformative(files: Path) -> None:
    assert variants(make("tfidf", files, ["the fire"]), ["the fire", "a river"]) == [[], []]


@pytest.mark.parametrize("action", ["swap", "delete", "crop", "substitute"])
@pytest.mark.parametrize("word_ratio", [0.1, 1.0])
@pytest.mark.parametrize("text", ["fire", "Fire!", "big fire", "fire 13 flood!", "火", "我们 13 高兴", "a b c"])
def test_short_texts_keep_a_word(action: str, word_ratio: float, text: str, files: Path) -> None:
    for _, variant in all_variants(make(action, files, word_ratio=word_ratio), [text], n_seeds=5):
        assert any(map(str.isalnum, variant))
    if text in ("fire", "火"):
        assert (action == "substitute") == bool(variants(make(action, files), [text])[0])


def test_swapped_words_are_the_same_words(files: Path) -> None:
    found = all_variants(make("swap", files, word_ratio=0.3), TEXTS)
    assert found
    for text, variant in found:
        counts = [Counter(map(str.lower, words_of(one))) for one in (text, variant)]
        assert counts[0] == counts[1] or re.search("[一-龥]", text)  # Chinese may be cut otherwise
        assert Counter(re.sub(r"\s", "", text.lower())) == Counter(re.sub(r"\s", "", variant.lower()))


@pytest.mark.parametrize("action", ["delete", "crop"])
def test_what_is_left_stands_in_its_order(action: str, files: Path) -> None:
    found = all_variants(make(action, files, word_ratio=0.4), [*ENGLISH, *CHINESE])
    assert found
    for text, variant in found:
        letters = iter(re.sub(r"\s", "", text.lower()))
        assert all(letter in letters for letter in re.sub(r"\s", "", variant.lower()))
        assert len(variant) < len(text)


def test_a_crop_is_one_run(files: Path) -> None:
    text = "one two three four five six seven eight nine ten"
    found = {variant for _, variant in all_variants(make("crop", files, word_ratio=0.3), [text])}
    words = text.split()
    runs = {" ".join(words[:start] + words[start + 3 :]) for start in range(8)}
    assert {one.lower() for one in found} <= runs and len(found) > 4


def test_a_split_adds_only_blanks(files: Path) -> None:
    found = all_variants(make("word_split", files), TEXTS)
    assert found
    for text, variant in found:
        assert re.sub(r"\s", "", text) == re.sub(r"\s", "", variant)
        assert "http://t.co/x1" in variant or "http" not in text
    parts = {variant for _, variant in all_variants(make("word_split", files), ["#fire"])}
    assert parts == {"#f ire", "#fi re", "#fir e"}


def test_the_formats_are_told_apart_by_content(files: Path, wordnet: Path) -> None:
    assert read_synonyms(files / "zh.txt", kind=None, related=False).synonyms["今天"] == [["今天", "今日"]]
    assert read_synonyms(files / "en.txt", kind=None, related=False).synonyms["fire"] == [["blaze", "flame"]]
    assert read_synonyms(wordnet, kind=None, related=False).synonyms["warm"] == [("hot", "warm")]


MARKED = [
    "हिन्दी में लिखना आसान है", "मुझे हिन्दी में पढ़ना अच्छा लगता है", "مُحَمَّد رَسُول كَبِير جِدّاً", "می\u200cخواهم کتاب\u200cها را بخوانم",
    "தமிழ் மொழி மிகவும் இனிமையானது", "שָׁלוֹם עוֹלָם יָפֶה מְאֹד", "ที่นี่ น้ำ ดีมาก วันนี้",
]  # fmt: skip


@pytest.mark.parametrize("case", ["tfidf", "swap", "delete", "crop", "substitute"])
def test_D13_copies_hold_whole_words_of_scripts_with_combining_marks(case: str, files: Path) -> None:
    """Copies of texts in Hindi, Tamil, vowelled Arabic and the like hold whole words, marks and joiners with them."""
    corpus = Corpus(MARKED * 2)
    options = {"action": case} if case in ("swap", "delete", "crop", "substitute") else {}
    augmenter = components.build(
        "augmenters", "random_words" if options else case, options, corpus=corpus, device="cpu"
    )
    made = augmenter.augment(MARKED, n_variants=4, seeds=range(len(MARKED)), reserved=[frozenset()] * len(MARKED))
    words = {word for text in MARKED for word in text.split()}
    assert sum(map(len, made)) >= len(MARKED)
    assert {word for variants in made for text in variants for word in text.split()} <= words


def test_D13_a_word_is_never_split_before_a_mark(files: Path) -> None:
    """A blank never comes between a letter and its marks."""
    augmenter = components.build("augmenters", "word_split", {"word_ratio": 1.0}, corpus=Corpus(MARKED), device="cpu")
    made = augmenter.augment(MARKED, n_variants=5, seeds=range(len(MARKED)), reserved=[frozenset()] * len(MARKED))
    parts = [part for variants in made for text in variants for part in text.split()]
    assert parts and all(part[0].isalpha() for part in parts)


def test_reserved_terms_end_where_the_word_with_its_marks_ends() -> None:
    assert list(term_spans("हिन्दी हिन्द", frozenset({"हिन्द"}))) == [(7, 12)]
    assert joined([*Cutter().cut("हिन्दी"), *Cutter().cut("में")]) == "हिन्दी में"
