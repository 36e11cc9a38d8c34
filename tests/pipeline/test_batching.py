import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batching import encode, epoch_batches, micro_batches
from tests.small import TEXTS, encoder

LENGTHS = st.lists(st.integers(3, 200), min_size=1, max_size=300).map(np.array)


@pytest.fixture(scope="module")
def tokenizer():
    return encoder(tokenizer="byte_bpe").source.build(texts=TEXTS, max_length=16, seed=0).tokenizer


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
def test_truncation_keeps_special_tokens_and_the_ends_it_names(tokenizer, truncation: str, paired: bool) -> None:
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


def test_special_tokens_written_in_a_text_are_plain_characters(tokenizer) -> None:
    encoded = encode(tokenizer, ["say [SEP] and [MASK]"], None, max_length=64, truncation="head")
    assert sum(i in set(tokenizer.all_special_ids) for i in encoded.input_ids) == 2  # [CLS] and the closing [SEP]


def test_an_empty_text_still_has_its_special_tokens(tokenizer) -> None:
    assert encode(tokenizer, ["", " "], None, max_length=8, truncation="head").lengths.min() >= 2


def test_a_very_long_text_is_truncated_in_linear_time(tokenizer) -> None:
    encoded = encode(tokenizer, ["word " * 200_000], None, max_length=32, truncation="head_tail")
    assert encoded.lengths.tolist() == [32]


def test_a_batch_pads_on_the_right_to_the_longest_row(tokenizer) -> None:
    encoded = encode(tokenizer, ["cat", "the big dog runs"], None, max_length=32, truncation="head")
    batch = encoded.batch(np.array([1, 0]))
    assert batch["attention_mask"].sum(dim=1).tolist() == encoded.lengths[[1, 0]].tolist()
    assert batch["input_ids"].shape == (2, encoded.lengths.max())
    assert (batch["input_ids"][batch["attention_mask"] == 0] == encoded.pad_token_id).all()
    assert batch["input_ids"].dtype == torch.int64
