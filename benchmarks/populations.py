"""Competitions whose truth is known, for benchmarks/coverage.py: members' predictions of training rows and of test rows.

Synthetic: a row's evidence for each label is Gaussian; members see it through an error of their own, which all their fold
models share, and one that is new in every fold, half of it shared by all members of the fold. Real: texts of
data/<competition>, a subsample to train on and another to test on, linear models and naive Bayes over hashed n-grams.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse
from scipy.special import softmax

from pipeline.data.class_targets import ClassTargets
from pipeline.data.likeness import compare_files, density_ratio_weights
from pipeline.ensemble.members import PRIOR_AGREEMENT, Members, Rows
from pipeline.text.near_duplicates import cluster_texts

N_FOLDS, N_TEST, N_FEATURES = 5, 3000, 6000
SIGNAL = {2: 1.3, 6: 2.0, 28: 2.6}  # distance of the labels' evidence, in its standard deviations
DECAY = {2: 0.35, 6: 0.6, 28: 0.87}  # of unbalanced labels' shares, from one to the next
FOLD_ERROR = {500: 1.3, 2000: 0.9, 10000: 0.6}  # in standard deviations of the evidence, at most
FILES: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "disaster_tweets": ("disaster_tweets/train.csv", "text", "target", {}),
    "smp2020_ewect": ("smp2020_ewect/train.csv", "text", "label", {}),
    "tnews": ("tianchi_generalization/TNEWS_train.csv", 1, 2, {"delimiter": "\t", "quoting": csv.QUOTE_NONE}),
}
TWIN_RATIO, CONFLICT_RATIO = 0.3, 0.15  # test rows that repeat a training row, and those of them with another label
TILT = 1.0  # log odds of being a test row, per standard deviation of the direction of the shift


@dataclass(frozen=True)
class Competition:
    """Members as `gather_members` makes them, all test rows sampled, and the test rows' true labels (T,)."""

    members: Members
    truth: np.ndarray


def synthetic(generator: np.random.Generator, *, n_rows: int, n_labels: int, balanced: bool) -> Competition:
    """Return a competition of four members drawn anew, population included."""
    shares = np.ones(n_labels) if balanced else DECAY[n_labels] ** np.arange(n_labels)
    shares, signal, n_members = shares / shares.sum(), SIGNAL[n_labels], 4
    sharpness, own = generator.uniform(0.7, 1.6, n_members), generator.uniform(0.3, 0.9, n_members)
    fold_error = FOLD_ERROR[n_rows] * generator.uniform(0.3, 1.0) * np.sqrt(0.5)

    def drawn(n: int, n_models: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.choice(n_labels, n, p=shares)
        evidence = signal * np.eye(n_labels)[labels] + generator.normal(size=(n, n_labels))
        lasting = own[:, None] * generator.normal(size=(n, n_members, n_labels))
        new = fold_error * generator.normal(size=(n_models, n, n_members, n_labels))
        new += fold_error * generator.normal(size=(n_models, n, 1, n_labels))
        seen = np.log(shares) + signal * (evidence[:, None] + 0.6 * (lasting + new))
        return labels, softmax(sharpness[:, None] * seen, axis=-1)

    labels, out_of_fold = drawn(n_rows, 1)
    truth, by_fold = drawn(N_TEST, N_FOLDS)
    folds = generator.permutation(np.arange(n_rows) % N_FOLDS)
    return Competition(_members(labels, out_of_fold[0], folds, by_fold), truth)


def real(
    generator: np.random.Generator, *, name: str, n_rows: int, twins: bool = False, shift: bool = False
) -> Competition:
    """Return a competition over texts of a file; `twins` and `shift` plant a test file that repeats rows, or is another."""
    texts, labels, views = texts_of(name)
    order = generator.permutation(len(texts))
    if shift:
        order = order[np.argsort(_tilted(generator, views["char"])[order], kind="stable")]
        order = np.concatenate([generator.permutation(order[: n_rows + 500])[:n_rows], order[-N_TEST:]])
    train, test = order[:n_rows], order[n_rows : n_rows + N_TEST]
    kept = np.flatnonzero(np.bincount(labels[train], minlength=labels.max() + 1) >= N_FOLDS)
    train, test = (part[np.isin(labels[part], kept)] for part in (train, test))
    targets, truth = (np.searchsorted(kept, labels[part]) for part in (train, test))
    place = np.full(len(test), -1)
    if twins:
        repeats = generator.permutation(len(test))[: int(TWIN_RATIO * len(test))]
        place[repeats] = generator.integers(0, len(train), len(repeats))
        test = np.where(place >= 0, train[place], test)
        other = generator.integers(0, len(kept), len(test))
        same = generator.random(len(test)) >= CONFLICT_RATIO
        truth = np.where(place >= 0, np.where(same, targets[place], other), truth)
    folds = _stratified(generator, targets)
    out_of_fold, by_fold = _fit(views, train, test, targets, folds, n_labels=len(kept))
    weights = _ratio(texts[np.concatenate([train, test])], n_train=len(train)) if shift else None
    return Competition(_members(targets, out_of_fold, folds, by_fold, twins=place, weights=weights), truth)


@cache
def texts_of(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, sparse.csr_matrix]]:
    """Return a file's texts (N,), the first of near-duplicates, their labels' numbers (N,), and counts of n-grams."""
    from sklearn.feature_extraction.text import HashingVectorizer

    path, text, label, form = FILES[name]
    with (Path("data") / path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, **form))
    if isinstance(text, str):
        text, label = rows[0].index(text), rows[0].index(label)
        rows = rows[1:]
    texts = np.array([row[text] for row in rows], object)
    first = np.sort(np.unique(cluster_texts(pa.array(texts, pa.large_string()), similarity=0.8), return_index=True)[1])
    labels = np.unique([row[label] for row in rows], return_inverse=True)[1][first]
    options: dict[str, Any] = {"n_features": 2**17, "alternate_sign": False, "norm": None}
    word = r"(?u)[\u4e00-\u9fff]|\b\w+\b"
    views = {
        "char": HashingVectorizer(analyzer="char", ngram_range=(1, 3), **options),
        "word": HashingVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=word, **options),
    }
    return texts[first], labels, {view: vectorizer.transform(texts[first]) for view, vectorizer in views.items()}


def _stratified(generator: np.random.Generator, targets: np.ndarray) -> np.ndarray:
    folds = np.empty(len(targets), np.int64)
    for label in np.unique(targets):
        places = generator.permutation(np.flatnonzero(targets == label))
        folds[places] = (np.arange(len(places)) + generator.integers(N_FOLDS)) % N_FOLDS
    return folds


def _fit(
    views: dict[str, sparse.csr_matrix], train: np.ndarray, test: np.ndarray, targets: np.ndarray, folds: np.ndarray, *,
    n_labels: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return probabilities (N, M, C) out-of-fold, and (K, T, M, C) of the test rows."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    def linear(inverse_penalty: float) -> Any:
        return make_pipeline(TfidfTransformer(), LogisticRegression(C=inverse_penalty, max_iter=50))

    models = [("char", linear(5)), ("word", linear(10)), ("word", MultinomialNB(alpha=0.1))]
    models.append(("char", MultinomialNB(alpha=0.1)))
    out_of_fold = np.empty((len(train), len(models), n_labels))
    by_fold = np.empty((N_FOLDS, len(test), len(models), n_labels))
    for fold in range(N_FOLDS):
        inside = folds == fold
        for view, counts in views.items():
            # Chosen on the fold's training rows: a word that a scored row shares with one of them is no more known for that.
            often = np.asarray((counts[train[~inside]] > 0).sum(axis=0)).ravel()
            columns = np.sort(np.argsort(-often, kind="stable")[: min(N_FEATURES, int((often > 1).sum()))])
            fitted, scored, unseen = (counts[rows][:, columns] for rows in (train[~inside], train[inside], test))
            for number in (number for number, (of, _) in enumerate(models) if of == view):
                model = models[number][1].fit(fitted, targets[~inside])
                out_of_fold[inside, number] = model.predict_proba(scored)
                by_fold[fold, :, number] = model.predict_proba(unseen)
    return out_of_fold, by_fold


def _tilted(generator: np.random.Generator, counts: sparse.csr_matrix) -> np.ndarray:
    """Return a noisy position of each row along a random direction of what texts are about; the highest become test rows."""
    from sklearn.decomposition import TruncatedSVD

    states = TruncatedSVD(8, random_state=0).fit_transform(counts.sqrt())
    along = (states - states.mean(axis=0)) / states.std(axis=0) @ generator.normal(size=8)
    return TILT * along / along.std() + generator.logistic(size=len(along))


def _ratio(texts: np.ndarray, *, n_train: int) -> np.ndarray | None:
    """Return the training rows' weights, None where the test rows cannot be told from them."""
    is_test, clusters = np.arange(len(texts)) >= n_train, np.arange(len(texts))
    log_odds, likeness = compare_files(pa.array(texts, pa.large_string()), is_test, clusters, seed=0)
    return density_ratio_weights(log_odds[:n_train]) if likeness["shifted"] else None


def _members(
    labels: np.ndarray, out_of_fold: np.ndarray, folds: np.ndarray, by_fold: np.ndarray, *,
    twins: np.ndarray | None = None, weights: np.ndarray | None = None,
) -> Members:  # fmt: skip
    (n_rows, n_members, n_labels), n_test = out_of_fold.shape, by_fold.shape[1]
    by_fold = by_fold.clip(1e-9)
    none = np.empty((0, n_members, n_labels))
    return Members(
        "task", ClassTargets(), [str(label) for label in range(n_labels)], [f"model{m}" for m in range(n_members)],
        train=Rows([str(row) for row in range(n_rows)], labels, np.arange(n_rows)),
        holdout=Rows([], labels[:0], labels[:0]), test_ids=[str(row) for row in range(n_test)], folds=folds[None],
        out_of_fold=out_of_fold.clip(1e-9)[None], holdout_probabilities=none, holdout_by_fold=none[None],
        test_probabilities=by_fold.mean(axis=0), twins=np.full(n_test, -1) if twins is None else twins,
        agreement=PRIOR_AGREEMENT[0] / sum(PRIOR_AGREEMENT), weights=weights, sampled=np.arange(n_test)[:2000],
        sampled_by_fold=by_fold[:, :2000],
    )  # fmt: skip
