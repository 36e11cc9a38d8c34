"""Clusters are the connected components of truly similar texts, whatever the order of the rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline import near_duplicates
from pipeline.near_duplicates import cluster_texts, connect, normalise


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
