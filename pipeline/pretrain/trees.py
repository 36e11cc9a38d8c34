"""Trees over the words of a text from the impacts among them: dependencies and constituents, without labels.

Source: Wu et al., Perturbed Masking, 2020, section 4, https://arxiv.org/abs/2004.14786; Eisner, Three New Probabilistic
Models for Dependency Parsing, 1996, https://arxiv.org/abs/cmp-lg/9706003; Chu and Liu, 1965; Edmonds, 1967
Differs from Wu et al.: no root is given, it is the word without whose impacts the tree loses least.
"""

import numpy as np

ROOT = -1
Brackets = int | list["Brackets"]


def head_scores(matrix: np.ndarray) -> np.ndarray:
    """Return scores (N, N) [head, dependent] of impacts (N, N) as `Impact` has them: of each word the share of its heads."""
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0).T


def projective_heads(scores: np.ndarray) -> list[int]:
    """Return the heads of N words, ROOT of one, in the projective tree of the largest sum of scores (N, N) [head, dependent].

    Eisner's algorithm. A span of words is open while its two ends are head and dependent, complete when the dependent has all
    of its own; side 0 has the head on the right, side 1 on the left.

    >>> projective_heads(np.array([[0, 5, 2], [1, 0, 1], [1, 4, 0]]))
    [-1, 0, 0]
    """
    n_words = len(scores)
    open_, complete = (np.zeros((n_words, n_words, 2)) for _ in range(2))
    cuts = np.zeros((n_words, n_words, 3), int)  # where the best parts of an open span, and of both complete ones, meet
    for i, j in ((i, i + width) for width in range(1, n_words) for i in range(n_words - width)):
        parts = complete[i, i:j, 1] + complete[i + 1 : j + 1, j, 0]
        open_[i, j] = parts.max() + np.array([scores[j, i], scores[i, j]])
        left = complete[i, i:j, 0] + open_[i:j, j, 0]
        right = open_[i, i + 1 : j + 1, 1] + complete[i + 1 : j + 1, j, 1]
        complete[i, j] = left.max(), right.max()
        cuts[i, j] = i + parts.argmax(), i + left.argmax(), i + 1 + right.argmax()
    root = int((complete[0, :, 0] + complete[:, -1, 1]).argmax())
    heads = [ROOT] * n_words
    waiting = [(0, root, 0, False), (root, n_words - 1, 1, False)]
    while waiting:
        i, j, side, is_open = waiting.pop()
        if i == j:
            continue
        cut = int(cuts[i, j, 0 if is_open else 1 + side])
        if is_open:
            heads[i if side == 0 else j] = j if side == 0 else i
            waiting += [(i, cut, 1, False), (cut + 1, j, 0, False)]
        else:
            waiting += [(i, cut, side, side == 1), (cut, j, side, side == 0)]
    return heads


def spanning_heads(scores: np.ndarray) -> list[int]:
    """Return the heads of N words, ROOT of one, in the tree of the largest sum of scores, whose edges may cross.

    Chu and Liu's, and Edmonds', algorithm.

    >>> spanning_heads(np.array([[0, 5, 2], [1, 0, 1], [1, 4, 0]]))
    [-1, 0, 0]
    """
    n_words = len(scores)
    weights = np.full((n_words + 1, n_words + 1), -np.inf)
    weights[1:, 1:] = scores
    np.fill_diagonal(weights, -np.inf)
    weights[0, 1:] = -1 - n_words * float(np.ptp(scores)) + float(scores.min())  # below any tree of one root
    return [int(head) - 1 for head in _best_heads(weights)[1:]]


def _best_heads(weights: np.ndarray) -> np.ndarray:
    """Return the head of each node in the best tree under node 0, by weights [head, node]; that of node 0 means nothing."""
    heads = weights.argmax(axis=0)
    heads[0] = 0
    cycle = _cycle(heads)
    if not cycle:
        return heads
    outside = [node for node in range(len(weights)) if node not in cycle]
    smaller = np.full((len(outside) + 1, len(outside) + 1), -np.inf)  # the cycle is its last node
    smaller[:-1, :-1] = weights[np.ix_(outside, outside)]
    entering = weights[np.ix_(outside, cycle)] - weights[heads[cycle], cycle]  # each gives up one edge of the cycle
    leaving = weights[np.ix_(cycle, outside)]
    smaller[:-1, -1], smaller[-1, :-1] = entering.max(axis=1), leaving.max(axis=0)
    found = _best_heads(smaller)
    for place, node in enumerate(outside[1:], 1):
        head = found[place]
        heads[node] = outside[head] if head < len(outside) else cycle[leaving[:, place].argmax()]
    heads[cycle[entering[found[-1]].argmax()]] = outside[found[-1]]
    return heads


def _cycle(heads: np.ndarray) -> list[int]:
    """Return the nodes of a cycle that heads go round in, none if there is none; node 0 is no part of one."""
    for start in range(1, len(heads)):
        path, node = [start], int(heads[start])
        while node and node not in path:
            path.append(node)
            node = int(heads[node])
        if node:
            return path[path.index(node) :]
    return []


def constituents(matrix: np.ndarray) -> Brackets:
    """Return N words, by number, in nested lists: from the top down each span is cut in two (MART).

    It is cut where the mean impacts within both parts, less those across, are largest; within a single word they are 0.

    >>> constituents(np.array([[0, 9, 1], [9, 0, 1], [1, 1, 0]]))
    [[0, 1], 2]
    """

    def within(part: np.ndarray) -> float:
        return float(part.sum() / max(1, len(part) * (len(part) - 1)))  # the diagonal is 0

    def gain(span: np.ndarray, cut: int) -> float:
        across = float(span[:cut, cut:].mean() + span[cut:, :cut].mean())
        return within(span[:cut, :cut]) + within(span[cut:, cut:]) - across

    def split(start: int, end: int) -> Brackets:
        if end - start == 1:
            return start
        span = matrix[start:end, start:end]
        cut = start + max(range(1, end - start), key=lambda place: gain(span, place))
        return [split(start, cut), split(cut, end)]

    return split(0, len(matrix))


def bracketed(tree: Brackets, words: list[str]) -> str:
    """Return a tree of words with its brackets.

    >>> bracketed([[0, 1], 2], ["red", "hat", "sits"])
    '((red hat) sits)'
    """
    if isinstance(tree, int):
        return words[tree]
    return f"({' '.join(bracketed(part, words) for part in tree)})"
