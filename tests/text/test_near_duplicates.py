"""Clusters are the connected components of truly similar texts, whatever the order of the rows; pairs are all of them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.text import near_duplicates
from pipeline.text.near_duplicates import cluster_texts, connect, near_pairs, row_texts
from pipeline.text.normalising import normalise


def _texts(*, n_distinct: int, seed: int) -> list[str]:
    """Return texts, each with some copies that differ in zero to three characters."""
    generator = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz 今天气很好我们去公园")
    texts = []
    for size in generator.integers(5, 120, n_distinct):
        base = generator.choice(letters, size)
        for _ in range(int(generator.integers(1, 5))):
            copy = base.copy()
            for _ in range(int(generator.integers(0, 4))):
                copy[generator.integers(size)] = generator.choice(letters)
            texts.append("".join(copy))
    return texts


def _brute_force(texts: list[str], similarity: float) -> np.ndarray:
    normal = [normalise(text) for text in texts]
    sets = [{text[i : i + 5] for i in range(len(text) - 4)} for text in normal]
    n = len(texts)
    linked = [
        (i, j)
        for i in range(n)
        for j in range(i)
        if normal[i] == normal[j]
        or (sets[i] and sets[j] and len(sets[i] & sets[j]) >= similarity * len(sets[i] | sets[j]))
    ]
    left, right = np.array(linked).reshape(-1, 2).T
    return connected_components(csr_array((np.ones(len(left)), (left, right)), shape=(n, n)), directed=False)[1]


def _partition(clusters: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(clusters == number).tolist()) for number in np.unique(clusters)}


@pytest.mark.parametrize("similarity", [0.6, 0.85, 1.0])
def test_clusters_equal_those_of_all_pairs_compared(similarity: float) -> None:
    texts = _texts(n_distinct=120, seed=3)
    expected = _brute_force(texts, similarity)
    assert len(np.unique(expected)) < len(texts)
    assert _partition(cluster_texts(pa.array(texts), similarity=similarity)) == _partition(expected)


def test_clusters_do_not_depend_on_chunks_or_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array(_texts(n_distinct=60, seed=4))
    whole = cluster_texts(texts, similarity=0.7)
    monkeypatch.setattr(near_duplicates, "CHUNK_CHARACTERS", 300)
    monkeypatch.setattr(near_duplicates, "PIECE", 7)
    assert cluster_texts(texts, similarity=0.7).tolist() == whole.tolist()


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_permuting_texts_permutes_clusters(random: object) -> None:
    texts = np.array(_texts(n_distinct=20, seed=5), dtype=object)
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    clusters = cluster_texts(pa.array(texts), similarity=0.8)
    assert cluster_texts(pa.array(texts[order]), similarity=0.8).tolist() == clusters[order].tolist()


@pytest.mark.parametrize("similarity", [None, 0.85])
def test_equal_texts_after_normalising_share_a_cluster(similarity: float | None) -> None:
    texts = ["Ｈello", "hello ", "HELLO", "hell", "hel", "hel", "", " \n", "你好", "你好"]
    clusters = cluster_texts(pa.array(texts), similarity=similarity)
    assert _partition(clusters) == {frozenset(s) for s in ([0, 1, 2], [3], [4, 5], [6, 7], [8, 9])}


def test_no_threshold_means_exact_copies_only() -> None:
    texts = ["a long text about the weather", "a long text about the weather!", "a long text about the weather"]
    assert cluster_texts(pa.array(texts), similarity=None).tolist() == [0, 1, 0]
    assert cluster_texts(pa.array(texts), similarity=0.85).tolist() == [0, 0, 0]


def test_thousands_of_rows_of_boilerplate_end_in_one_cluster() -> None:
    texts = [f"This message was sent from my telephone, please excuse any errors {i:05d}" for i in range(3000)]
    assert len(np.unique(cluster_texts(pa.array(texts), similarity=0.8))) == 1


def test_a_text_of_megabytes_is_clustered() -> None:
    long = " ".join(f"word{i}" for i in range(60_000))
    clusters = cluster_texts(pa.array([long, long[:-9], "short text"]), similarity=0.85)
    assert _partition(clusters) == {frozenset([0, 1]), frozenset([2])}


def test_components_follow_links_through_several_keys() -> None:
    first, second = np.array([0, 0, 1, 2, 3]), np.array([-1, 7, 7, -1, -1])
    assert connect(first, second).tolist() == [0, 0, 0, 1, 2]
    assert connect(np.array([-1, -1])).tolist() == [0, 1]


def _pairs(texts: list[str], others: list[str], similarity: float | None) -> list[tuple[int, int]]:
    """Return what `near_pairs` finds, in its order."""
    pairs = near_pairs(pa.array(texts, pa.string()), pa.array(others, pa.string()), similarity=similarity)
    assert pairs.dtype == np.int64 and pairs.shape[0] == 2
    return [(int(position), int(other)) for position, other in pairs.T]


def _all_pairs(texts: list[str], others: list[str], similarity: float | None) -> list[tuple[int, int]]:
    """Return all pairs by comparing each text with each other one."""
    normal = [[normalise(text) for text in side] for side in (texts, others)]
    sets = [[{text[i : i + 5] for i in range(len(text) - 4)} for text in side] for side in normal]
    return [
        (i, j)
        for i in range(len(texts))
        for j in range(len(others))
        if normal[0][i] == normal[1][j]
        or (similarity and sets[0][i] and len(sets[0][i] & sets[1][j]) >= similarity * len(sets[0][i] | sets[1][j]))
    ]


@pytest.mark.parametrize("similarity", [0.6, 0.85, 1.0, None])
def test_pairs_are_those_of_each_text_compared_with_each(similarity: float | None) -> None:
    texts = _texts(n_distinct=150, seed=6)
    order = np.random.default_rng(0).permutation(len(texts))
    left, right = ([texts[position] for position in half] for half in np.array_split(order, 2))
    expected = _all_pairs(left, right, similarity)
    assert len(expected) >= 12
    assert _pairs(left, right, similarity) == expected


alike = st.lists(st.text(st.sampled_from("aAbＡｂ 好　\n"), max_size=9), max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts=alike, others=alike)
def test_equal_texts_are_always_paired(texts: list[str], others: list[str]) -> None:
    assert _pairs(texts, others, None) == _all_pairs(texts, others, None)
    assert set(_pairs(texts, others, 0.9)) >= set(_all_pairs(texts, others, None))
    assert set(_pairs(texts, others, 0.9)) <= set(_all_pairs(texts, others, 0.9))


@pytest.mark.parametrize(
    "plant",
    [
        str.upper,
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        lambda text: f" {text.replace(' ', ' 　')}\n",
        lambda text: f"#{text[1:]}",
        lambda text: f"{text[:60]}#{text[61:]}",
        lambda text: f"{text[:-1]}",
    ],
    ids=["case", "width", "blanks", "first character", "a character within", "last character left out"],
)
def test_planted_copies_are_found_in_boilerplate_and_out_of_it(plant: Callable[[str], str]) -> None:
    generator = np.random.default_rng(7)
    letters = list("abcdefghijklmnopqrstuvwxyz今天气很好我们去公园")
    distinct = ["".join(generator.choice(letters, 130)) for _ in range(300)]
    foot = ", and this message was sent from my telephone, please excuse the brevity of it"
    texts = distinct + [text[:80] + foot for text in distinct]
    pairs = set(_pairs([plant(text) for text in texts], texts, 0.85))
    assert [(position, position) for position in range(len(texts)) if (position, position) not in pairs] == []


def test_equal_texts_are_paired_in_a_bucket_far_larger_than_a_window() -> None:
    others = [f"This message was sent from my telephone, please excuse any errors {i:05d}" for i in range(400)]
    texts = [text.upper() for text in others]
    pairs = set(_pairs(texts, others, 0.8))
    assert pairs >= {(position, position) for position in range(400)}
    assert len(pairs) < 400 * 400  # and of near ones no more than the windows hold


def test_equal_means_equal_texts_and_not_equal_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "hash_texts", lambda texts: np.zeros(len(texts), np.uint64))
    assert _pairs(["a", "b", "C"], ["ａ", "c", "d"], None) == [(0, 0), (2, 1)]


def test_pairs_do_not_depend_on_the_parts_in_which_texts_come(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, others = _texts(n_distinct=60, seed=8), _texts(n_distinct=60, seed=8)[::-1]
    whole = _pairs(texts, others, 0.7)
    monkeypatch.setattr(near_duplicates, "CHUNK_CHARACTERS", 300)
    assert _pairs(texts, others, 0.7) == whole


def test_each_place_of_a_repeated_text_is_paired() -> None:
    assert _pairs(["a", "b", "A"], ["ａ", "c", "a "], None) == [(0, 0), (0, 2), (2, 0), (2, 2)]


@pytest.mark.parametrize("similarity", [None, 0.85])
@pytest.mark.parametrize(("texts", "others"), [([], []), ([], ["a long text"]), (["a long text"], []), (["a"], ["b"])])
def test_nothing_pairs_with_nothing(texts: list[str], others: list[str], similarity: float | None) -> None:
    assert _pairs(texts, others, similarity) == []


def test_pairs_are_compared_in_either_order_and_single_texts_as_they_are() -> None:
    texts = pd.DataFrame(
        {"text": ["B x", "a y", "b", "c", "ｂ X"], "text_pair": ["A y", "b x", None, "", "A  Y"]}, dtype="str"
    )
    assert row_texts(texts).to_pylist() == ["A y\nB x", "a y\nb x", "b", "\nc", "A  Y\nｂ X"]
    assert cluster_texts(row_texts(texts), similarity=None)[[0, 1, 4]].tolist() == [0, 0, 0]
    assert row_texts(texts[2:3].reset_index(drop=True)).to_pylist() == ["b"]
