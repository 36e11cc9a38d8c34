"""The trees are the best ones of all that there are, by trying all of them."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from pipeline.pretrain.trees import ROOT, Brackets, constituents, head_scores, projective_heads, spanning_heads


def all_trees(n_words: int) -> Iterator[list[int]]:
    """Yield the heads of every tree over words that has one root."""
    for heads in product(range(-1, n_words), repeat=n_words):
        if heads.count(ROOT) == 1 and all(leads_to_the_root(heads, word) for word in range(n_words)):
            yield list(heads)


def leads_to_the_root(heads: tuple[int, ...], word: int) -> bool:
    for _ in heads:
        word = heads[word] if word != ROOT else ROOT
    return word == ROOT


def is_projective(heads: list[int]) -> bool:
    """Return whether no two edges cross, and none goes over the root."""
    edges = [sorted((head, word)) for word, head in enumerate(heads) if head != ROOT]
    root = heads.index(ROOT)
    crossing = any(a < c < b < d for a, b in edges for c, d in edges)
    return not crossing and not any(a < root < b for a, b in edges)


def total(scores: np.ndarray, heads: list[int]) -> float:
    return float(sum(scores[head, word] for word, head in enumerate(heads) if head != ROOT))


@pytest.mark.parametrize("n_words", [1, 2, 3, 4, 5])
def test_heads_are_those_of_the_best_of_all_trees(n_words: int) -> None:
    trees = list(all_trees(n_words))
    assert len(trees) == n_words ** (n_words - 1)  # Cayley
    projective = [heads for heads in trees if is_projective(heads)]
    for seed in range(20):
        scores = np.random.default_rng(seed).normal(size=(n_words, n_words))
        np.fill_diagonal(scores, 9)  # nobody is its own head
        assert projective_heads(scores) == max(projective, key=lambda heads: total(scores, heads))
        assert spanning_heads(scores) == max(trees, key=lambda heads: total(scores, heads))


def test_edges_may_cross_in_a_spanning_tree_alone() -> None:
    scores = np.zeros((4, 4))
    for head, word in ((0, 2), (2, 3), (3, 1)):
        scores[head, word] = 1
    assert spanning_heads(scores) == [ROOT, 3, 0, 2]
    assert is_projective(projective_heads(scores)) and not is_projective([ROOT, 3, 0, 2])


def test_heads_are_scored_by_the_share_of_what_moves_a_word() -> None:
    matrix = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert head_scores(matrix).T.tolist() == [[0, 0.75, 0.25], [0.5, 0, 0.5], [0, 0, 0]]


def test_phrases_of_much_impact_on_one_another_stay_together() -> None:
    matrix = np.ones((6, 6))
    matrix[:2, :2] = matrix[3:, 3:] = 5
    matrix[4:, 4:] = 9
    np.fill_diagonal(matrix, 0)
    tree = constituents(matrix)
    assert leaves(tree) == list(range(6)) and [4, 5] in nodes(tree) and [0, 1] in nodes(tree)
    assert constituents(np.zeros((1, 1))) == 0


def leaves(tree: Brackets) -> list[int]:
    return [tree] if isinstance(tree, int) else [leaf for part in tree for leaf in leaves(part)]


def nodes(tree: Brackets) -> list[Brackets]:
    return [tree] + ([] if isinstance(tree, int) else [node for part in tree for node in nodes(part)])
