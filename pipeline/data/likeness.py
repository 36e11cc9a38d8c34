"""How like the test file's rows each row is: the ratio of the two files' densities at its text, learned without labels.

Source: Bickel et al., Discriminative Learning Under Covariate Shift, 2009, https://jmlr.org/papers/v10/bickel09a.html.
Differs from it: cross-fitted over near-duplicate clusters, and calibrated by a logistic regression of the one score, so
that between files of one kind all ratios are near 1.
"""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import rankdata

from pipeline.artifacts.likeness import Likeness
from pipeline.artifacts.table import Table
from pipeline.data.text_classifier import cross_fitted_scores, telling_words
from pipeline.number_formats import percent
from pipeline.reproducibility import derive_seed
from pipeline.text.near_duplicates import row_texts

logger = logging.getLogger(__name__)
N_FOLDS = 5
FEWEST_ROWS = 20  # distinct ones of either file: fewer tell nothing
MOST_ROWS = 5000  # of either file, to fit on; all are predicted
LEAST_AUC = 0.55  # below it weights and scores hardly move
STANDARD_ERRORS = 2.5
MOST_WEIGHT = 10.0
NORMAL_QUANTILE = 1.96


def measure_likeness(table: Table, clusters: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Likeness]]:
    """Return all rows with their `log_odds`, and what is known of each task; both as `read_likeness` says.

    `clusters` has `task, split, row_id, cluster` of the table's rows, training and test, in its order.
    """
    log_odds, tasks = np.zeros(len(clusters)), {}
    for task in table.labels:
        places = np.flatnonzero(table.rows["task"] == task)
        rows, cluster = table.rows.iloc[places], clusters["cluster"].to_numpy()[places]
        is_test, seed = (rows["split"] == "test").to_numpy(), derive_seed(0, "likeness", task)
        log_odds[places], tasks[task] = compare_files(row_texts(rows), is_test, cluster, seed=seed)
        if tasks[task]["shifted"]:
            logger.warning("%s: %s", task, shift_text(tasks[task]))
    return clusters.assign(log_odds=log_odds), tasks


def compare_files(
    texts: pa.Array, is_test: np.ndarray, cluster: np.ndarray, *, seed: int
) -> tuple[np.ndarray, Likeness]:
    """Return the log odds of each text, float64 (N,), and how well test texts can be told.

    Of near-duplicates in one file only the first is learned from and counts; those of one cluster are all predicted by
    one model, which saw none of them.
    """
    distinct = ~pd.DataFrame({"cluster": cluster, "is_test": is_test}).duplicated().to_numpy()
    generator = np.random.default_rng(seed)
    parts = [generator.permutation(np.flatnonzero(distinct & side))[:MOST_ROWS] for side in (is_test, ~is_test)]
    fitted, fold = np.sort(np.concatenate(parts)), _folds(cluster, is_test, generator)
    enough = min(map(len, parts)) >= FEWEST_ROWS
    scores = cross_fitted_scores(texts, is_test, fold, fitted=fitted) if enough else None
    if scores is None:
        return np.zeros(len(texts)), Likeness(auc=None, low=None, high=None, shifted=False, telling=[])
    auc, low, high = auc_interval(scores[distinct], is_test[distinct])
    n_train, n_test = np.bincount(is_test[distinct])
    # Mann and Whitney's, of files of one kind; the folds' models err alike (see `auc_interval`).
    error = np.sqrt(N_FOLDS * (n_test + n_train + 1) / (12 * n_test * n_train))
    shifted = bool(auc >= max(LEAST_AUC, 0.5 + STANDARD_ERRORS * error))
    telling = telling_words(texts.take(pa.array(fitted)), is_test[fitted]) if shifted else []
    found = Likeness(auc=auc, low=low, high=high, shifted=shifted, telling=telling)
    return _calibrate(scores, scores[distinct], is_test[distinct]), found


def auc_interval(scores: np.ndarray, is_test: np.ndarray) -> tuple[float, float, float]:
    """Return how often a test row's score is above a training row's, and the 95 % interval, within [0, 1].

    Source: DeLong et al., 1988, by ranks as in Sun and Xu, Fast Implementation of DeLong's Algorithm, 2014. Differs from it:
    the folds' models share most of their rows and err alike, so together they are taken to know no more than one of them
    of its fold. (Of 20 demos of 600 and 200 rows of one kind the AUC scattered by 0.046; rows as independent say 0.024.)

    >>> auc_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))[0]
    0.75
    """
    ranks = rankdata(scores)
    test, train = scores[is_test], scores[~is_test]
    above = (ranks[is_test] - rankdata(test)) / len(train)  # of each test row, the share of training rows below it
    below = 1 - (ranks[~is_test] - rankdata(train)) / len(test)
    variance = N_FOLDS * (above.var(ddof=1) / len(test) + below.var(ddof=1) / len(train))
    auc, half = above.mean(), NORMAL_QUANTILE * np.sqrt(variance)
    return float(auc), float(max(0.0, auc - half)), float(min(1.0, auc + half))


def density_ratio_weights(log_odds: np.ndarray) -> np.ndarray:
    """Return weights (N,) of mean 1 by which training rows stand for the test rows.

    What stands more than `MOST_WEIGHT` times as often in the test file counts as if that many times.

    >>> density_ratio_weights(np.log([1.0, 1.0, 4.0]))
    array([0.5, 0.5, 2. ])
    """
    weights: np.ndarray = np.exp(np.minimum(log_odds, np.log(MOST_WEIGHT)))
    return weights / weights.mean()


def shift_text(likeness: Likeness) -> str:
    """Return what it means that a task's test rows can be told from its training rows, and what to do."""
    words = ", ".join(
        f"{word['word']!r} (in {percent(word['train'])} of training, {percent(word['test'])} of test texts)"
        for word in likeness["telling"]
    )
    return (
        f"Test texts can be told from training texts: AUC {likeness['auc']:.2f} ({likeness['low']:.2f} to "
        f"{likeness['high']:.2f}), where files of one kind give 0.50{f'; most telling: {words}' if words else ''}. "
        "If the test file is of another kind (later, from elsewhere), out-of-fold scores are those of other rows: set "
        "folds.score_where: test_like, or columns.group to what will be new. If something in the training texts alone "
        "gives them away, it may give labels away too: write both files' texts alike."
    )


def _folds(cluster: np.ndarray, is_test: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the fold of each row: clusters in turns, those of training rows, of test rows and of both each by themselves."""
    sides = np.zeros((int(cluster.max()) + 1, 2), np.int64)
    sides[cluster, is_test.astype(int)] = 1
    shuffled = generator.permutation(len(sides))
    fold = np.empty(len(sides), np.int64)
    fold[shuffled[np.argsort((sides @ [1, 2])[shuffled], kind="stable")]] = np.arange(len(sides)) % N_FOLDS
    return fold[cluster]


def _calibrate(scores: np.ndarray, distinct: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """Return scores as log odds, the files' sizes aside; 0 where those of distinct rows do not rise with being a test row."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, class_weight="balanced").fit(distinct.reshape(-1, 1), is_test)
    log_odds: np.ndarray = model.decision_function(scores.reshape(-1, 1))
    return log_odds if model.coef_[0, 0] > 0 else np.zeros(len(scores))
