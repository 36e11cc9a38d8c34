"""Sentences and clauses: joined they are the text, and they end where a reader would end them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.sentences import split_clauses, split_sentences

PIECES = [
    *"。！？；…!?.,，、 \n\r\t\"'”“’」（）()",
    "Dr",
    "e.g",
    "3.14",
    "http://a.b/?c=d!",
    "他说",
    "Word",
    "word",
    "😀",
    "...",
]
ANY_TEXT = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(ANY_TEXT)
def test_the_sentences_together_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@given(ANY_TEXT)
def test_the_clauses_together_are_the_text(text: str) -> None:
    assert "".join(split_clauses(text)) == text


@given(ANY_TEXT)
def test_none_is_blank_unless_the_text_is(text: str) -> None:
    pieces = [*split_sentences(text), *split_clauses(text)]
    assert all(piece.strip() for piece in pieces) or not text.strip()
    assert all(pieces)


@given(ANY_TEXT)
def test_blanks_stand_behind_a_sentence_not_before_the_next(text: str) -> None:
    assert all(not piece[0].isspace() for piece in split_sentences(text)[1:])


@given(ANY_TEXT, ANY_TEXT)
def test_a_line_ends_a_sentence(first: str, second: str) -> None:
    if first.strip() and second.strip():
        assert split_sentences(f"{first}\n{second}")[-len(split_sentences(second.lstrip())) :] == split_sentences(
            second.lstrip()
        )


@pytest.mark.parametrize(
    "text",
    [
        # English
        "It rains. |Stay in! |Why?",
        "it rains. |stay in",
        "Wait!!! |What?! |OK",
        "Dr. Bell met Mrs. J. K. Smith at 5 p.m. today. |She left.",
        "U.S. troops left, e.g. to No. 5, Hwy. 20 and Jan. 3. |He said no. |Then he went.",
        "It costs 3.50 dollars or 1,000.5 yen. |Version 2.0.1 is out.",
        "See http://t.co/a.b?c=d!e now. |Or www.example.com today",
        "Mail to a.b@c.de. |Thanks",
        'He said "No." |Then he left. |"Why?" she asked. |Oh.',
        "(It burns.) |Run! |‘Where?’ |“Home.” |OK",
        "well... maybe… not. |Hm... |Good",
        "1. Wash it\n|2. Dry it",
        "first\n|second\r\n|third",
        "It was I. |He knew.",
        # Chinese
        "今天很好。|明天呢？|不知道！|走吧；|好",
        "“真的吗？”|他问。|（是的。）|好……|走吧",
        '他走了。|"为什么？"|她问。',
        '他走了。"\n|0',
        'He left."  |Why',
        '"好。\n|好。|"0',
        "好吗?|不知道!|嗯.|走了",
        "涨了3.5%，见http://t.co/a.b?c，真的。|是",
        "气温38.5度。\n\n|明天 iPhone 15.5 上市",
        # mixed
        "我们去New York玩。|It was fun! |好的。",
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str) -> None:
    assert split_sentences(text.replace("|", "")) == text.split("|")


@pytest.mark.parametrize(
    "text", ["昨天，|下雨了，|大家在家", "It rains, |1,000 people, |a,b left", "苹果、梨,|都好", "none"]
)
def test_clauses_end_at_commas(text: str) -> None:
    assert split_clauses(text.replace("|", "")) == text.split("|")


def test_a_text_without_end_takes_no_longer_per_character() -> None:
    for text in ("." * 100_000, '"好。' * 30_000, "a. " * 30_000, "\n" * 100_000, "”" * 100_000, "1" * 100_000):
        assert "".join(split_sentences(text)) == text
