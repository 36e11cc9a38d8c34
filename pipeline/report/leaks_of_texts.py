"""Signs of a leak in the texts: scored rows too near to rows of other folds, and words that tell labels in training alone."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import regex
from scipy.stats import hypergeom, ks_2samp

from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.number_formats import percent
from pipeline.report.leak_signs import SURE, Leak
from pipeline.reproducibility import derive_seed
from pipeline.targets.strata import memberships
from pipeline.text.normalising import normalise
from pipeline.text.templates import readable
from pipeline.text.words import word_spans

# Of training rows nearer to another fold than test rows are: of authors and twins .2 to .9, of clean files up to .14.
EXCESS = 0.15
N_QUERIES = 1000  # of either file
N_POOL = 30_000
N_BATCH = 100
COMMON = 300  # what more texts hold says little of nearness, and costs most
TELLING_RATIO = 0.99
FEWEST_ROWS = 20  # of a label or a word: fewer may agree by chance
LEAST_REACH = 0.25
N_ROWS = 5000
Analyzer = Callable[[str], list[str]]


def rows_near_other_folds(table: Table, folds: Folds) -> Iterator[Leak]:
    """Yield the tasks whose scored rows are nearer to the training rows of other folds than test rows are to training rows.

    Where rows that belong together (of an author, a source, a text that was changed a little) lie in different folds, each
    has a neighbour that no test row has. Near is by the cosine of TF-IDF, and by how much the nearest is nearer than the
    second, which tells twins among texts that are all alike. Test rows look for theirs in as many rows, one fold left out.
    """
    for task in table.labels:
        train, test = _pool_and_queries(table, folds, task)
        queries = np.flatnonzero(train["fold"] >= 0)[:N_QUERIES]
        texts = [normalise(text) for text in _texts(pd.concat([train, test]))]
        if not len(queries) or not len(test) or not any(texts):
            continue
        rows, fold = np.append(queries, len(train) + np.arange(len(test))), train["fold"].to_numpy()
        left_out = np.append(fold[queries], np.arange(len(test)) % (fold.max() + 1))
        for analyzer in (_words, _grams):
            cosines, places = _nearest(texts, rows, left_out, fold, analyzer)
            nearer = [_excess(values, len(queries)) for values in (cosines[:, 0], cosines[:, 0] - cosines[:, 1])]
            if not max(nearer):
                continue
            first = int(cosines[: len(queries), 0].argmax())
            pair = train["row_id"].iloc[[queries[first], places[first]]].tolist()
            yield Leak(
                "scored rows near to rows of other folds", task,
                f"task {task}: a training row should be as near to its nearest row of another fold as a test row is to its, "
                f"got {percent(max(nearer))} of them too near, first {pair}. If rows belong together (of one author, "
                "source or text), name what they share in columns.group, of pairs set folds.group_pairs, or lower "
                "folds.near_duplicate_similarity; else test rows are of another kind. Either way the estimate is too high.",
                certain=False,
            )  # fmt: skip
            break


def _pool_and_queries(table: Table, folds: Folds, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training rows, with their `fold`, and test rows; of many some, in random order."""
    repeat = folds.rows.loc[folds.rows["task"] == task, "repeat"].min()
    plan = folds.select(task, int(repeat)).set_index("row_id")["fold"]
    train = table.select(task, "train")
    train["fold"] = train["row_id"].map(plan)
    generator = np.random.default_rng(derive_seed(0, "near", task))
    parts = ((train[train["fold"] != HOLDOUT_FOLD], N_POOL), (table.select(task, "test"), N_QUERIES))
    train, test = (rows.iloc[generator.permutation(len(rows))[:most]].reset_index(drop=True) for rows, most in parts)
    return train, test


def _excess(values: np.ndarray, n_queries: int) -> float:
    """Return how many more of the training rows, which come first, than of the test rows are above some value, or 0."""
    found: Any = ks_2samp(values[:n_queries], values[n_queries:], alternative="less", method="asymp")
    return float(found.statistic) if found.statistic > EXCESS and found.pvalue < SURE else 0.0


def _nearest(
    texts: list[str], rows: np.ndarray, left_out: np.ndarray, fold: np.ndarray, analyzer: Analyzer
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines of the two nearest (Q, 2) and the place of the nearest (Q,), of rows in a pool.

    The first texts are the pool, with their `fold`; `rows` (Q,) are places in texts, of which each looks outside the fold
    that is `left_out` (Q,).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
    common = np.bincount(weights.indices, minlength=weights.shape[1]) > COMMON
    queries, pool = weights[rows], weights[: len(fold)].T.tocsr()
    queries.data[common[queries.indices]] = 0
    queries.eliminate_zeros()
    cosines, places = np.zeros((len(rows), 2)), np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), N_BATCH):
        batch = slice(start, start + N_BATCH)
        near = (queries[batch] @ pool).toarray()
        near[left_out[batch, None] == fold] = 0
        places[batch] = near.argmax(axis=1)
        cosines[batch] = -np.partition(-near, 1, axis=1)[:, :2] if near.shape[1] > 1 else 0
    return cosines, places


def label_in_text(table: Table) -> Iterator[Leak]:
    """Yield the tasks in which words or signs tell labels in training texts and are rare in test texts.

    Without test rows only those count by which all labels but one can be told; what test texts hold as well is no leak.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    for task in table.labels:
        rows, test = (table.select(task, split) for split in ("train", "test"))
        rows, test = (part.iloc[:: max(1, len(part) // N_ROWS)] for part in (rows, test))
        texts = _texts(rows)
        strata, names = table.kind(task).strata(table.targets(task, rows), table.labels[task])
        if not texts.str.strip().any():
            continue
        words = CountVectorizer(analyzer=_words_and_signs, binary=True)
        stands = words.fit_transform(texts)
        in_test = words.transform(_texts(test)) if len(test) else None
        telling = _telling(stands, in_test, memberships(strata, len(names)).astype(np.float64))
        if len(telling):
            word, label = words.get_feature_names_out()[telling[0][0]], names[telling[0][1]]
            yield Leak(
                "label written in the text", task,
                f"task {task}: no single word or sign should tell a label in training texts alone, got {word!r} for "
                f"{label!r}{', and others' if len(telling) > 1 else ''}. Take out what test texts lack.",
                certain=False,
            )  # fmt: skip


def _telling(stands: Any, in_test: Any, of_label: np.ndarray) -> list[tuple[int, int]]:
    """Return the words that tell labels, as places of word and label, or none where chance or test texts explain them.

    `stands` and `in_test` are sparse (rows, words), the latter None without test rows; `of_label` (rows, labels) is one-hot.
    """
    n_words, n_label = np.asarray(stands.sum(axis=0)).ravel(), of_label.sum(axis=0)
    together = stands.T @ of_label
    right, reach = together / n_words[:, None], together / n_label.clip(1)
    large = n_label >= FEWEST_ROWS
    if in_test is None:
        best = np.where(large, np.minimum(right, reach), 0)
        told = np.flatnonzero(best.max(axis=0) >= TELLING_RATIO)
        enough = large.sum() > 1 and len(told) >= large.sum() - 1
        return [(int(best[:, label].argmax()), int(label)) for label in told] if enough else []
    # A word tells a label if it leaves a quarter of the errors of guessing it.
    tells = (
        (1 - right <= (1 - n_label / len(of_label)) / 4) & (reach >= LEAST_REACH) & (n_words >= FEWEST_ROWS)[:, None]
    )
    shares = n_words / len(of_label), np.asarray(in_test.sum(axis=0)).ravel() / in_test.shape[0]
    known = np.flatnonzero(tells.any(axis=1))
    rare = known[(shares[1] < shares[0] / 2)[known]]
    held = [int((part[:, rare].sum(axis=1) > 0).sum()) for part in (stands, in_test)]
    chance = hypergeom.cdf(held[1], len(of_label) + in_test.shape[0], sum(held), in_test.shape[0])
    if not len(rare) or chance > SURE / len(known):
        return []
    ordered = rare[np.argsort(-(right * reach)[rare].max(axis=1), kind="stable")]
    return [(int(word), int((right * reach)[word].argmax())) for word in ordered]


def _texts(rows: pd.DataFrame) -> "pd.Series[str]":
    return rows["text"].str.cat(rows["text_pair"].fillna(""), sep=" ").map(readable)


def _words(text: str) -> list[str]:
    """Return the words, and each sign by itself.

    >>> _words("Well, 好!")
    ['well', ',', '好', '!']
    """
    return [text[start:end].casefold() for start, end in word_spans(text, "blank")]


def _words_and_signs(text: str) -> set[str]:
    r"""Return the words, and what stands between them: signs in a row, and those at either end, with a line break there.

    >>> sorted(_words_and_signs("Well!! Yes."))
    ['!', '!! ', '.', '.\n', 'well', 'yes']
    """
    return {*_words(text), *regex.findall(r"\W{2,}", f"\n{text}\n")}


def _grams(text: str) -> list[str]:
    """Return the runs of four characters, of the text between two blanks.

    >>> _grams("owl")
    [' owl', 'owl ']
    """
    padded = f" {text:2} "
    return [padded[start : start + 4] for start in range(len(padded) - 3)]
