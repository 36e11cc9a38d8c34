"""Masks: a function of seed, epoch, row and place; the ratio that was asked for; the shares of what is shown instead."""

from itertools import pairwise

import numpy as np
import pytest

from pipeline import components
from pipeline.pretrain.masks import NO_UNIT, Masks, _mixed, start_probability, survival_of
from pipeline.pretrain.pretext import Masking
from tests.pretrain.tokenizers_of import write_masked_model

UNITS = np.repeat(np.arange(-1, 299), 2)[None, 1:-1].repeat(64, axis=0)  # special, then units of two tokens each
ROWS = np.arange(64)
GEOMETRIC = survival_of([0.8**n for n in range(10)])


def masks_of(survival: list[float], ratio: float = 0.15) -> Masks:
    return Masks(Masking(None, survival), ratio, seed=3)


def test_the_hash_is_splitmix64() -> None:
    """The first numbers of Vigna's reference, https://prng.di.unimi.it/splitmix64.c, from state 0 and from its next one."""
    gamma = 0x9E3779B97F4A7C15
    numbers = _mixed(np.array([0, gamma], np.uint64)).tolist()
    assert numbers == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("survival", [[1.0], survival_of([1, 1, 1]), GEOMETRIC], ids=["words", "n-grams", "spans"])
@pytest.mark.parametrize("ratio", [0.15, 0.4])
def test_the_ratio_holds_for_every_distribution_of_lengths_also_at_the_ends_of_a_row(
    survival: list[float], ratio: float
) -> None:
    chosen = np.concatenate([masks_of(survival, ratio).chosen(UNITS, ROWS, epoch) for epoch in range(8)])
    assert chosen[UNITS.repeat(8, axis=0) != NO_UNIT].mean() == pytest.approx(ratio, abs=0.01)
    assert chosen[:, 1:9].mean() == pytest.approx(ratio, abs=0.05) and chosen[:, -8:].mean() == pytest.approx(
        ratio, abs=0.05
    )
    assert not chosen[:, 0].any() and (chosen[:, 1::2] == np.roll(chosen, -1, axis=1)[:, 1::2])[:, :-1].all()


def test_spans_are_as_long_as_their_distribution_says() -> None:
    """At a small ratio runs seldom touch, and their mean length is that of SpanBERT's: 3.8 words."""
    chosen = masks_of(GEOMETRIC, 0.02).chosen(np.arange(200_000)[None], ROWS[:1], 0)[0]
    n_runs = np.count_nonzero(np.diff(chosen.astype(int), prepend=0) == 1)
    assert sum(GEOMETRIC) == pytest.approx(3.8, abs=0.1)
    assert chosen.sum() / n_runs == pytest.approx(sum(GEOMETRIC), rel=0.05)
    assert start_probability(0.02, np.array(GEOMETRIC)) == pytest.approx(0.02 / sum(GEOMETRIC), rel=0.05)


def test_neither_the_batch_nor_its_padding_has_a_say_but_row_epoch_and_seed_have() -> None:
    masks = masks_of(GEOMETRIC)
    whole = masks.chosen(UNITS, ROWS, 5)
    for rows in ([7], [40, 7, 3]):
        padded = np.pad(UNITS[rows], ((0, 0), (0, 9)), constant_values=NO_UNIT)
        assert (masks.chosen(padded, ROWS[rows], 5)[:, :-9] == whole[rows]).all()
    others = [
        masks.chosen(UNITS, ROWS, 6),
        masks.chosen(UNITS, ROWS + 1, 5),
        Masks(masks.masking, 0.15, 4).chosen(UNITS, ROWS, 5),
    ]
    assert len({other.tobytes() for other in (whole, *others)}) == 4


def test_a_short_row_masks_one_unit_whole() -> None:
    units = np.array([[NO_UNIT, 0, 1, 1, NO_UNIT]])
    for epoch in range(40):
        chosen = masks_of([1.0], 0.001).chosen(units, ROWS[:1], epoch)[0].tolist()
        assert chosen in ([False, True, False, False, False], [False, False, True, True, False])


def test_of_ten_tokens_eight_read_as_the_mask_one_as_a_random_one_and_one_as_itself() -> None:
    ids, chosen = np.full((64, 3000), 5), np.ones((64, 3000), bool)
    chosen[:, 0] = False
    shown = masks_of([1.0]).replaced(
        ids, chosen, ROWS, 0, mask_id=1, ordinary=np.arange(100, 200), mask_token_ratio=0.8, random_token_ratio=0.1
    )
    shares = [(shown[:, 1:] == 1).mean(), (shown[:, 1:] >= 100).mean(), (shown[:, 1:] == 5).mean()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.005) and (shown[:, 0] == 5).all()
    assert set(np.unique(shown)) == {1, 5, *range(100, 200)}


@pytest.mark.parametrize("name", components.available("masking"))
def test_every_masking_says_what_is_masked_together(name: str, tmp_path) -> None:
    (tmp_path / "phrases.txt").write_text("a cat\n", encoding="utf-8")
    known = {"path": str(tmp_path / "phrases.txt"), "model": str(tmp_path / "model")}
    options = {option: value for option, value in known.items() if option in components.options("masking", name)}
    if "model" in options:
        write_masked_model(tmp_path / "model")
    masking: Masking = components.build("masking", name, options)
    survival = np.array(masking.survival)
    assert survival[0] == 1 and (np.diff(survival) <= 0).all() and survival[-1] > 0
    if masking.spans is not None:
        spans = masking.spans("a cat 去公园")
        assert spans == sorted(spans) and all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert "".join("a cat 去公园"[start:end] for start, end in spans).replace(" ", "") == "acat去公园"
