"""Words of every script stay whole; every character of a text that is no white space stands in one word."""

from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.words import Kind, WordTokenizer, clusters, is_mainly_unspaced, word_spans

# Words with vowel signs, viramas, vowel points, tone marks, joiners and what NFC leaves apart.
WORDS = {
    "hindi": "हिन्दी में क्षत्रिय है",
    "bengali": "আমি বাংলায় গান গাই",
    "tamil": "தமிழ் மொழி",
    "telugu": "తెలుగు భాష",
    "malayalam": "മലയാളം അവന്\u200d",
    "sinhala": "සිංහල ශ්\u200dරී",
    "thai": "ที่นี่ น้ำ",
    "khmer": "ខ្មែរ ភាសា",
    "arabic": "مُحَمَّد رَسُولٌ",
    "hebrew": "שָׁלוֹם עוֹלָם",
    "persian": "می\u200cخواهم کتاب\u200cها",
    "vietnamese": "tiê\u0323́ng Viê\u0323t".replace("́", "\u0301"),
    "latin": "x\u0308y naïve",
}
every_script = pytest.mark.parametrize("script", WORDS)


def cut(text: str, kind: Kind) -> list[str]:
    return [text[start:end] for start, end in word_spans(text, kind)]


@every_script
@pytest.mark.parametrize("kind", ["blank", "jieba"])
def test_D13_words_with_combining_marks_stay_whole(script: str, kind: Kind) -> None:
    """Words of scripts with combining marks and joiners stay whole, also in Chinese texts."""
    assert cut(WORDS[script], kind) == WORDS[script].split()
    assert cut(f"我们{WORDS[script]}好!", kind)[-len(WORDS[script].split()) - 2 : -2] == WORDS[script].split()


def test_emoji_stay_whole() -> None:
    for kind in ("blank", "jieba", "character"):
        assert cut("👩\u200d👩\u200d👧❤️ 🇩🇪!", kind) == ["👩\u200d👩\u200d👧", "❤️", "🇩🇪", "!"]


def test_characters_keep_their_marks() -> None:
    assert cut("น้ำ हि", "character") == ["น้ำ", "हि"]
    assert clusters("नमस्ते") == ["न", "म", "स्ते"] and clusters("fire") == list("fire")


@pytest.mark.parametrize("kind", ["blank", "jieba", "character"])
@given(text=st.text(st.sampled_from("aé字の्िน้\u0301\u200d\u200c\ufe0f👩🏽🇩@#'. \n_7²\u0600\ud800") | st.characters()))
def test_every_character_but_white_space_stands_in_one_word(kind: Kind, text: str) -> None:
    spans = word_spans(text, kind)
    places = [place for start, end in spans for place in range(start, end)]
    assert places == sorted(set(places)) and all(start < end for start, end in spans)
    assert {place for place, character in enumerate(text) if not character.isspace()} <= set(places)
    assert not any(text[start:end].isspace() for start, end in spans if text[start] not in "\x1c\x1d\x1e\x1f")


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("ภาษาไทยง่าย", True),
        ("ភាសាខ្មែរ", True),
        ("日本語を話す", True),
        ("今天天气很好", False),
        ("हिन्दी", False),
        ("", False),
    ],
)
def test_texts_without_blanks_are_read_by_character_with_its_marks(text: str, unspaced: bool) -> None:
    from pipeline.models.encoders import word_vectors

    assert is_mainly_unspaced([text]) == unspaced
    if unspaced:
        options: dict[str, Any] = {"min_count": 1, "vector_size": 4, "vector_epochs": 1, "hidden_size": 4}
        parts = word_vectors.build(texts=[text] * 3, seed=0, **options)
        tokenizer: Any = parts.tokenizer
        assert isinstance(tokenizer, WordTokenizer)
        words = [text[start:end] for _, (start, end) in tokenizer.tokens(text)]
        assert words == regex.findall(r"\X", text) and 1 not in tokenizer(text)["input_ids"]
