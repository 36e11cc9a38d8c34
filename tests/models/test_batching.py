import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.batching import encode, epoch_batches, micro_batches
from pipeline.text.templates import FIELD, SEPARATOR
from tests.small import TEXTS, encoder

CLEAN = st.characters(
    exclude_categories=["Cs"], exclude_characters=[FIELD, SEPARATOR]
)  # `clean` leaves no mark of a template in a text
LENGTHS = st.lists(st.integers(3, 200), min_size=1, max_size=300).map(np.array)


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<mask>", "<|endoftext|>"]


@pytest.fixture(scope="module")
def tokenizers():
    texts = [*TEXTS, *(f"{text} [MASK] [SEP]" for text in TEXTS)]  # so that a trained vocabulary could hold them
    kinds = ("bpe", "byte_bpe")
    return {kind: encoder(tokenizer=kind).source.build(texts=texts, max_length=16, seed=0).tokenizer for kind in kinds}


@pytest.fixture(scope="module")
def tokenizer(tokenizers):
    return tokenizers["byte_bpe"]


@given(lengths=LENGTHS, batch_size=st.integers(1, 40), seed=st.integers(0, 5), epoch=st.integers(0, 3))
@settings(max_examples=50)
def test_an_epoch_has_each_row_once_and_depends_on_seed_and_epoch_only(lengths, batch_size, seed, epoch) -> None:
    arguments = {"batch_size": batch_size, "seed": seed, "epoch": epoch}
    batches = epoch_batches(lengths, **arguments)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    again = epoch_batches(lengths, **arguments)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_another_epoch_has_another_order() -> None:
    first, second = (np.concatenate(epoch_batches(np.full(100, 5), batch_size=10, seed=0, epoch=e)) for e in (0, 1))
    assert not np.array_equal(first, second)


@given(lengths=LENGTHS, budget=st.integers(1, 2000))
@settings(max_examples=50)
def test_micro_batches_keep_all_rows_within_the_budget(lengths, budget) -> None:
    parts = list(micro_batches(np.arange(len(lengths)), lengths, token_budget=budget))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * lengths[part].max() <= budget for part in parts)


def test_batches_hold_rows_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 1600)
    padded = sum(len(rows) * lengths[rows].max() for rows in epoch_batches(lengths, batch_size=32, seed=0, epoch=0))
    assert padded < 1.1 * lengths.sum()


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
@pytest.mark.parametrize("paired", [False, True])
def test_D12_truncation_keeps_special_tokens_and_the_ends_it_names(tokenizer, truncation: str, paired: bool) -> None:
    """A text that is too long keeps its special tokens and the ends that the policy names, and is counted."""
    text, pair = "a b c d e f g h i j k l m n o p", "q r s" if paired else None
    full = tokenizer(text, pair)["input_ids"]
    encoded = encode(tokenizer, [text], [pair] if paired else None, max_length=10, truncation=truncation)
    ids = encoded.input_ids.tolist()
    assert len(ids) == 10 and encoded.n_truncated == 1
    special = set(tokenizer.all_special_ids)
    assert [i for i in ids if i in special] == [i for i in full if i in special]
    body, kept = ([i for i in row if i not in special] for row in (full, ids))
    if not paired:
        n_tail = {"head": 0, "tail": 8, "head_tail": 4}[truncation]
        assert kept == body[: 8 - n_tail] + body[len(body) - n_tail :]


@pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])
@given(
    text=st.lists(st.sampled_from([*SPECIAL, " ", "a", "猫", "[", "]"]) | st.text(CLEAN, max_size=4), max_size=8).map(
        "".join
    )
)
@settings(max_examples=100, deadline=None)
def test_D14_H2_special_tokens_written_in_a_text_are_plain_characters(tokenizers, kind: str, text: str) -> None:
    """`[MASK]`, `</s>` and their like in a text are characters: no special token stands inside the body of a row."""
    tokenizer = tokenizers[kind]
    encoded = encode(tokenizer, [text], None, max_length=64, truncation="head")
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert sum(i in control for i in encoded.input_ids) == 2  # [CLS] and the closing [SEP]


@given(
    texts=st.lists(st.text(CLEAN, max_size=30), min_size=1, max_size=4),
    max_length=st.integers(4, 12),
    truncation=st.sampled_from(["head", "tail", "head_tail"]),
)
@settings(max_examples=60, deadline=None)
def test_D12_H2_rows_are_never_empty_nor_too_long_and_say_what_they_stand_for(
    tokenizer, texts: list[str], max_length: int, truncation: str
) -> None:
    """Every row has a token, none too many, and what was kept of a text is a part of it, in order."""
    encoded = encode(tokenizer, texts, None, max_length=max_length, truncation=truncation)
    assert encoded.lengths.min() >= 2 and encoded.lengths.max() <= max_length
    whole = encode(tokenizer, texts, None, max_length=10_000, truncation="head")
    assert encoded.n_truncated == (whole.lengths > max_length).sum() and whole.n_truncated == 0
    for row, text in enumerate(texts):
        spans = encoded.spans[encoded.starts[row] : encoded.starts[row + 1]]
        assert (spans >= 0).all() and (spans[:, 1] <= len(text) + 2).all()
        assert (np.diff(spans[:, 0]) >= 0).all()


@pytest.mark.parametrize("text", ["", " ", "\u200b", "a", "猫", "\ud800".encode("utf-16", "replace").decode("utf-16")])
def test_D11_D12_a_text_with_next_to_nothing_still_has_its_special_tokens(tokenizers, text: str) -> None:
    """An empty, blank, zero-width or one-character text keeps its special tokens, so that its states are finite."""
    for tokenizer in tokenizers.values():
        assert encode(tokenizer, [text], None, max_length=8, truncation="head").lengths.min() >= 2


def test_D12_a_very_long_text_is_truncated_in_linear_time(tokenizer) -> None:
    """Eight times the text takes about eight times as long, not sixty-four times."""
    seconds = []
    for n_words in (25_000, 200_000):
        started = time.process_time()
        encoded = encode(tokenizer, ["word " * n_words], None, max_length=32, truncation="head_tail")
        seconds.append(time.process_time() - started)
        assert encoded.lengths.tolist() == [32]
    assert seconds[1] < 25 * seconds[0]


def test_a_batch_pads_on_the_right_to_the_longest_row(tokenizer) -> None:
    encoded = encode(tokenizer, ["cat", "the big dog runs"], None, max_length=32, truncation="head")
    batch = encoded.batch(np.array([1, 0]))
    assert batch["attention_mask"].sum(dim=1).tolist() == encoded.lengths[[1, 0]].tolist()
    assert batch["input_ids"].shape == (2, encoded.lengths.max())
    assert (batch["input_ids"][batch["attention_mask"] == 0] == encoded.pad_token_id).all()
    assert batch["input_ids"].dtype == torch.int64
