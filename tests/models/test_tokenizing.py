"""Texts of templates as tokens: separators and what the template says are never cut, each field keeps its share and place."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import Encoded, divide, encode, encode_rows, kept_tokens
from pipeline.models.tokenizing import tokenize
from pipeline.stitch.alignment import align
from pipeline.text.templates import render
from pipeline.text.words import SEPARATOR as WORD_SEPARATOR
from pipeline.text.words import WordTokenizer
from tests.small import TEXTS, WORDS, encoder

TEMPLATE = "{a} [SEP] near {b} river {c}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHAT = "<|im_start|>user\n{{ messages[0]['content'] }}<|im_end|>\n" + PROMPT


@pytest.fixture(scope="module")
def tokenizers():
    kinds = ("bpe", "byte_bpe")
    return {kind: encoder(tokenizer=kind).source.build(texts=TEXTS, max_length=16, seed=0).tokenizer for kind in kinds}


def texts_of(*rows: tuple[str, str, str], template: str = TEMPLATE) -> list[str]:
    return render(template, dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True)))


def row(encoded: Encoded, number: int = 0) -> list[int]:
    return encoded.input_ids[encoded.starts[number] : encoded.starts[number + 1]].tolist()


@pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])
def test_fields_are_read_as_texts_and_sep_is_the_tokenizers_own_separator(tokenizers, kind: str) -> None:
    tokenizer = tokenizers[kind]
    texts = texts_of(("big cat", "the owl", ""), ("", "", "dog"), ("", "", ""))
    encoded = encode(tokenizer, texts, None, max_length=64, truncation="head")
    assert tokenizer.decode(row(encoded)).replace(" ", "") == "[CLS]bigcat[SEP]neartheowl[SEP]"
    parts = ["big cat", "near", " the owl"]
    big, near, owl = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts)
    separator = tokenizer.sep_token_id
    assert row(encoded) == [tokenizer.cls_token_id, *big, separator, *near, *owl, separator]
    assert row(encoded, 1) == tokenizer("river dog")["input_ids"] and row(encoded, 2) == tokenizer("")["input_ids"]


@pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])
def test_every_token_says_where_it_stands_in_its_text(tokenizers, kind: str) -> None:
    texts = texts_of(("big cat", "the owl", "runs 今天"), ("big", "", "dog"))
    pairs = texts_of(("", "river", "near"), ("runs", "near", "cat"))
    encoded = encode(tokenizers[kind], texts, pairs, max_length=64, truncation="head")
    for number, (text, pair) in enumerate(zip(texts, pairs, strict=True)):
        axis = f"#{text}#{pair}#"
        spans = encoded.spans[encoded.starts[number] : encoded.starts[number + 1]]
        tokens = tokenizers[kind].convert_ids_to_tokens(row(encoded, number))
        for token, (start, end) in zip(tokens, spans, strict=True):
            said = axis[start:end].strip()
            if token in ("[CLS]", "[SEP]"):
                assert said in ("#", "")
            elif said.isascii():
                assert token.lstrip("Ġ") in ("", said.lower(), said)
        assert (np.diff(spans[:, 0]) >= 0).all()


BUDGETS = [{}, {0: 0.2, 1: 0.3, 2: 0.5}, {0: 0.6}, {0: 3, 2: 0.5}, {1: 2, 2: 1}]


def test_ten_thousand_random_rows_are_never_too_long_and_each_field_keeps_its_share(tokenizers) -> None:
    generator = np.random.default_rng(0)
    texts = texts_of(
        *(tuple(" ".join(generator.choice(WORDS, generator.integers(0, 10))) for _ in range(3)) for _ in range(10_000))
    )
    for number, whole in enumerate(tokenize(tokenizers["bpe"], texts, None)):
        budgets, max_length = BUDGETS[number % len(BUDGETS)], int(generator.integers(8, 24))
        kept = whole.take(kept_tokens(whole.fields, max_length, "head_tail", budgets))
        assert len(kept.ids) <= max_length and (kept.fields == -1).sum() == (fixed := (whole.fields == -1).sum())
        before, after = (np.bincount(row.fields[row.fields >= 0], minlength=3) for row in (whole, kept))
        for field, budget in budgets.items():
            if isinstance(budget, int):
                assert after[field] <= budget
            else:
                assert after[field] >= min(before[field], int(budget * (max_length - fixed) + 1e-9))
        if not any(isinstance(budget, int) for budget in budgets.values()):
            assert len(kept.ids) == min(len(whole.ids), max_length)


@given(first=st.integers(0, 30), second=st.integers(0, 30), room=st.integers(0, 40))
def test_without_budgets_the_longest_is_cut_first(first: int, second: int, room: int) -> None:
    shorter = min(first, second, room // 2)
    expected = [min(first, room - shorter), shorter] if first >= second else [shorter, min(second, room - shorter)]
    assert divide([first, second], room, {}) == expected


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), room=st.integers(0, 60),
    budgets=st.dictionaries(st.integers(0, 4), st.integers(1, 30) | st.floats(0.05, 0.2), max_size=5),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_a_room_is_filled_as_far_as_the_fields_and_their_maxima_allow(lengths, room, budgets) -> None:
    budgets = {field: budget for field, budget in budgets.items() if field < len(lengths)}
    kept = divide(lengths, room, budgets)
    caps = [min(n, b) if isinstance(b := budgets.get(i, n), int) else n for i, n in enumerate(lengths)]
    assert all(0 <= of_field <= cap for of_field, cap in zip(kept, caps, strict=True))
    assert sum(kept) == min(room, sum(caps))


def test_what_a_template_says_is_never_cut_and_must_fit(tokenizers) -> None:
    texts = texts_of(("cat " * 30, "dog " * 30, "owl " * 30))
    whole = encode(tokenizers["bpe"], texts, None, max_length=500, truncation="head")
    cut = encode(tokenizers["bpe"], texts, None, max_length=12, truncation="tail")
    words = tokenizers["bpe"].decode(row(cut)).split()
    assert len(row(cut)) == 12 and whole.n_truncated == 0 and cut.n_truncated == 1
    assert [word for word in words if word not in ("cat", "dog", "owl")] == ["[CLS]", "[SEP]", "near", "river", "[SEP]"]
    with pytest.raises(
        ParamsError, match="max_length: must hold the 5 tokens of the template that are never cut, got 4"
    ):
        encode(tokenizers["bpe"], texts, None, max_length=4, truncation="head")


def test_budgets_of_a_pair_count_the_second_texts_fields_after_the_firsts(tokenizers) -> None:
    first, second = (texts_of((f"{word} " * 20, "", f"{word} " * 20)) for word in ("cat", "dog"))
    frame = pd.DataFrame({"text": first, "text_pair": second})
    read = encoder({"max_length": 32, "field_budgets": {"a2": 3, "c2": 0.5}}).reading(["a", "b", "c", "a2", "b2", "c2"])
    words = tokenizers["bpe"].decode(row(encode_rows(tokenizers["bpe"], frame, read))).split()
    # Of 32 tokens 5 are special and 2 said by the template. Of 25 a2 has its three; c2, of half, gets five times as many as
    # a and c, which have a fifth of the other half each.
    assert words.count("dog") == 3 + 15 and words.count("cat") == 3 + 4


def test_windows_have_a_fields_separator_where_it_stands(tokenizers) -> None:
    tokenizer = tokenizers["bpe"]
    texts = texts_of(("cat " * 20, "", "dog " * 20), template="{a} [SEP] {b}{c}")
    encoded = encode(tokenizer, texts, None, max_length=200, truncation="head", window=16)
    windows = np.array(row(encoded)).reshape(-1, 16)
    inner = (windows[:, 1:-1] == tokenizer.sep_token_id).sum(axis=1)
    assert (windows[:, -1] == tokenizer.sep_token_id).all() and 1 <= inner.sum() <= 2


def test_two_tokenizers_meet_on_the_same_field_and_separator(tokenizers) -> None:
    texts = texts_of(("big cat", "the owl", "runs 今天"), ("cat " * 40, "dog " * 40, "owl " * 40))
    frame, other = (
        encode(tokenizers[kind], texts, None, max_length=24, truncation="head", budgets={0: share})
        for kind, share in (("bpe", 0.3), ("byte_bpe", 0.5))
    )
    aligned = align(frame, other)
    for number, source, word in ((0, 0, "cat"), (1, 1, "dog")):
        tokens = [tokenizers[kind].convert_ids_to_tokens(row(encoded, number)) for kind, encoded in
                  (("bpe", frame), ("byte_bpe", other))]  # fmt: skip
        assert source == number and any(word in token for token in tokens[0])
        for place, token in enumerate(tokens[0]):
            target = frame.starts[number] + place
            received = [tokens[1][i] for i in aligned.source[aligned.indptr[target] : aligned.indptr[target + 1]]]
            if token == "[SEP]":
                assert received == ["[SEP]"]
            elif received and token.isascii():
                assert any(piece.lstrip("Ġ") in token or token in piece for piece in received)


def test_a_tokenizer_of_words_and_one_without_separator_read_templates_too(tokenizers) -> None:
    texts = texts_of(("big cat", "", "owl"))
    words = WordTokenizer(["big", "cat", "river", "owl"], "blank")
    encoded = encode(words, texts, None, max_length=16, truncation="head")
    assert row(encoded) == [3, 4, WORD_SEPARATOR, 5, 6]
    slow = ByT5Tokenizer()  # has neither offsets nor a separator, but an end
    encoded = encode(slow, texts, None, max_length=64, truncation="head")
    assert slow.decode(row(encoded)) == "big cat</s>river owl</s>" and encoded.spans is None


def test_a_chat_template_stands_around_the_texts_and_is_never_cut(tokenizers) -> None:
    tokenizer = encoder(tokenizer="byte_bpe").source.build(texts=TEXTS, max_length=16, seed=0).tokenizer
    tokenizer.chat_template = CHAT
    before, after = "<|im_start|>user", "<|im_end|> <|im_start|>assistant"
    texts = ["the big cat", "cat " * 100]
    encoded = encode(tokenizer, texts, None, max_length=80, truncation="head", chat=True)
    whole, cut = (" ".join(tokenizer.decode(row(encoded, number)).split()) for number in range(2))
    assert whole == f"{before} the big cat {after}"
    assert cut.startswith(f"{before} cat cat") and cut.endswith(f"cat {after}") and len(row(encoded, 1)) == 80
    pair = encode(tokenizer, ["the cat"], ["a dog"], max_length=80, truncation="head", chat=True)
    assert " ".join(tokenizer.decode(row(pair)).split()) == f"{before} the cat a dog {after}"
    spans = pair.spans[[0, -1]].tolist()
    assert spans == [[0, 1], [14, 15]]  # before the first text and after the second: #the cat#a dog#
    read = encoder({"chat_template": True, "max_length": 80})
    frame = pd.DataFrame({"text": texts, "text_pair": None})
    assert np.array_equal(encode_rows(tokenizer, frame, read).input_ids, encoded.input_ids)


@pytest.mark.parametrize(("template", "got"), [(None, "none"), ("hello", "another one")])
def test_a_tokenizer_without_a_chat_template_is_refused(template: str | None, got: str) -> None:
    tokenizer = encoder().source.build(texts=TEXTS, max_length=16, seed=0).tokenizer
    tokenizer.chat_template = template
    with pytest.raises(ParamsError, match=f"chat_template: the tokenizer .* must have a chat template .* got {got}"):
        encode(tokenizer, ["a"], None, max_length=16, truncation="head", chat=True)
