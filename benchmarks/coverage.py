"""Does the interval cover? Competitions with a known truth: how often the score on 3,000 test rows lies in what was claimed.

Run from the repository's root: python benchmarks/coverage.py [minutes] [first seed]. Real texts are those of data/ (see
benchmarks/populations.py; what is not there is left out). Writes benchmarks/results/coverage.json. Seeds from `CLAIM` on
were used for nothing but the claim; what was designed was designed on others.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from populations import FILES, N_TEST, Competition, real, synthetic
from recording import record
from threadpoolctl import threadpool_limits

from pipeline import components
from pipeline.data.class_targets import ClassTargets
from pipeline.ensemble.decisions import build_ladder
from pipeline.ensemble.description import describe_ensemble
from pipeline.ensemble.intervals import NORMAL_QUANTILE, Interval, unseen_interval
from pipeline.ensemble.stacking import build_ensemble
from pipeline.params.fields import Component

CLAIM = 3_000_000
N_BOOTSTRAP = 300
METRICS = ("accuracy", "f1_macro", "auc", "log_loss")
LADDER = ("mean", "rank_mean", "greedy", "logistic")
TARGETS = {"pooled_at_least": 0.93, "pooled_at_most": 0.97, "cell_at_least": 0.90, "gain_at_least": 0.90}


def cells() -> dict[str, tuple[int, Callable[[np.random.Generator], Competition]]]:
    """Return by name of the cell in every how many rounds one competition is drawn, and what draws it."""
    drawn: dict[str, tuple[int, Callable[[np.random.Generator], Competition]]] = {}
    for n_rows, n_labels, balanced in product((500, 2000, 10000), (2, 6, 28), (True, False)):
        how = partial(synthetic, n_rows=n_rows, n_labels=n_labels, balanced=balanced)
        every = (1 if n_rows < 10000 else 5) * (1 if n_labels < 28 else 10)
        drawn[f"synthetic, {n_rows} rows, {n_labels} labels{'' if balanced else ', unbalanced'}"] = every, how
    for name in (name for name, (path, *_) in FILES.items() if (Path("data") / path).is_file()):
        few_labels = name != "tnews"
        for n_rows in (500, 2000):
            drawn[f"real, {name}, {n_rows} rows"] = 1 if few_labels else 8, partial(real, name=name, n_rows=n_rows)
        for planted in ("twins", "shift") if few_labels else ():
            how = partial(real, name=name, n_rows=2000, **{planted: True})
            drawn[f"{planted}, {name}, 2000 rows"] = 3, how
    return drawn


def jobs(minutes: float, first: int) -> Iterator[tuple[str, int]]:
    """Yield cells and seeds, round by round, until the time is over."""
    end = time.monotonic() + 60 * minutes
    for seed in count(first):
        for cell, (every, _) in cells().items():
            if time.monotonic() > end:
                return
            if (seed - first) % every == every // 2:
                yield cell, seed


def run(cell: str, seed: int) -> list[dict[str, Any]]:
    """Return for each metric what was claimed of one competition of a cell, and what is true."""
    generator = np.random.default_rng([seed, *cell.encode()])
    competition = cells()[cell][1](generator)
    members, n_labels = competition.members, len(competition.members.labels)
    names = {name: {"kind": "metrics", "name": name} for name in METRICS}
    metrics = {
        name: Component(**of).build(n_outputs=n_labels, decide=ClassTargets().decide) for name, of in names.items()
    }
    results = []
    for name, metric in metrics.items():
        ladder = build_ladder([Component(kind="stackers", name=rung) for rung in LADDER], metric=metric, seed=0)
        tune_above = components.constant("metrics", name, "NEEDED_ERRORS") or 0.0
        with threadpool_limits(1):
            ensemble = build_ensemble(members, ladder=ladder, metric=metric, tune_above=tune_above, seed=seed)
            said = describe_ensemble(
                members, ensemble, kinds=dict.fromkeys(members.names, "encoder"), metric_name=name,
                metrics={name: metric}, n_bootstrap=N_BOOTSTRAP, seed=seed,
            )  # fmt: skip
        best = members.names.index(said["best_single"])
        single = metric.score(competition.truth, members.test_probabilities[:, best])
        truth = metric.score(competition.truth, ensemble.test)
        results.append({"cell": cell, "metric": name} | _compared(said, truth, metric.sign * (truth - single)))
    return results


def _compared(said: Mapping[str, Any], truth: float, gained: float) -> dict[str, Any]:
    """Return one claim beside the truth; errors in standard errors of a test of 3,000 rows."""
    estimate, gain = said["estimate"], said["gain"]
    test_error = estimate["standard_error"] * math.sqrt(said["n_train"] / N_TEST)
    plain = Interval(estimate["score"], estimate["low"], estimate["high"], estimate["standard_error"])
    low, high = unseen_interval(plain, n_train=said["n_train"], n_test=said["n_test"])
    sizes = {"n_train": said["n_train"], "n_test": said["n_test"]}
    gain_low, gain_high = unseen_interval(Interval(**gain), **sizes)
    return {
        "covered": estimate["test_low"] <= truth <= estimate["test_high"],
        "covered_without": low <= truth <= high,
        "bias": (estimate["expected"] - truth) / test_error,
        "bias_without": (estimate["score"] - truth) / test_error,
        "error": estimate["expected"] - truth,
        "width": (estimate["test_high"] - estimate["test_low"]) / (high - low),
        "gain_covered": gain_low <= gained <= gain_high,
        "gain_error": gain["value"] - gained,
        "label_shift": (said["label_shift"] or {"p_value": 1.0})["p_value"] < 0.01,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over runs, with the standard error where it matters."""
    numbers = {key: np.array([row[key] for row in rows], float) for key in rows[0] if key not in ("cell", "metric")}
    means = {key: round(float(values.mean()), 4) for key, values in numbers.items()}
    error = {
        f"{key}_se": round(float(numbers[key].std() / math.sqrt(len(rows))), 4) for key in ("covered", "bias", "error")
    }
    return {"runs": len(rows), **means, **error}


def main() -> None:
    """Draw, claim, compare, record."""
    minutes, first = [*map(int, sys.argv[1:]), *(60, CLAIM)[len(sys.argv) - 1 :]]
    parts = Parallel(n_jobs=-1, verbose=1)(delayed(run)(*job) for job in jobs(minutes, first))
    rows = [row for part in parts for row in part]
    groups = list(dict.fromkeys(row["cell"].split(",")[0] for row in rows))
    pooled = {group: [row for row in rows if row["cell"].split(",")[0] == group] for group in groups}
    by_cell = {(row["cell"], row["metric"]): [] for row in rows}
    for row in rows:
        by_cell[row["cell"], row["metric"]].append(row)
    figures = {
        "confidence": f"{NORMAL_QUANTILE:.2f} standard errors",
        "first_seed": first,
        "minutes": minutes,
        "pooled": {group: round(float(np.mean([row["covered"] for row in of])), 4) for group, of in pooled.items()},
        "groups": {group: summarise(of) for group, of in pooled.items()},
        "by_metric": {
            f"{group}, {metric}": summarise([row for row in of if row["metric"] == metric])
            for group, of in pooled.items()
            for metric in METRICS
        },
        "cells": [{"cell": cell, "metric": metric, **summarise(of)} for (cell, metric), of in by_cell.items()],
    }
    record("coverage", figures=figures, targets=TARGETS, libraries=("numpy", "scipy", "scikit-learn"))


if __name__ == "__main__":
    main()
