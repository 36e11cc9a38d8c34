"""The ensemble's bundle of a finished run against `out/`: differences, size over the weights, CPU time of predicting.

Run in the run's folder, after `dvc repro` and `stitchfold bundle`: python benchmarks/bundle.py bundles/ensemble. Writes
benchmarks/results/bundle.json. The time is that of the first two folds over the test rows ten times, on one thread, loading
included, against the stages' own functions for the same rows: fine-tuned models, states, stitched models.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recording import record

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import read_folds, read_table
from pipeline.base_models.fold_training import predict_fold
from pipeline.bundle.predictor import load_bundle
from pipeline.bundle.sources import Sources
from pipeline.params.loading import load_params
from pipeline.stitch.fold_training import predict_stitched
from pipeline.stitch.states import extract

TARGETS = {"difference_at_most": 1e-6, "weights_over_needed_at_most": 1.05, "time_over_stages_at_most": 1.1}
N_TIMES, FOLDS = 10, 2


class Workspace:
    """Where a unit writes; nobody watches it."""

    device = "cpu"

    def __init__(self, result: Path) -> None:
        """Make its folder."""
        self.result = result
        result.mkdir()

    def progress(self, **_: float) -> None:
        """Take nothing."""

    def stop_requested(self) -> None:
        """Never stop."""


def predict_as_the_stages_do(sources: Sources, names: list[str], rows: pd.DataFrame, fold: int) -> float:
    """Predict rows with all models of a fold, each encoder's states computed once; return the CPU time."""
    params, labels = sources.params, sources.table.labels[sources.task]
    fields: Any = {"task": sources.task, "labels": labels, "manifest": "", "recipe": "", "seed": 0}
    found = {name: sources.fold_models(name)[fold] for name in names}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        states: dict[str, Path] = {}
        for name, source in found.items():
            place: Any = Workspace(Path(temporary) / name)
            given: Any = {"model": source.folder, "rows": rows, "predictions": {**fields, "model": name}}
            if params.stages[name] == "finetune":
                predict_fold(place, settings=params.encoders[name], **given)
                continue
            for base in source.bases:
                if base.encoder not in states:
                    of_base: Any = Workspace(Path(temporary) / f"states-{base.encoder}")
                    extract(of_base, base=base, rows=rows)
                    states[base.encoder] = of_base.result
            features = [states[base.encoder] for base in source.bases]
            predict_stitched(place, bases=source.bases, features=features, settings=params.stitch, **given)
    return time.process_time() - started


def main() -> None:
    """Measure and write the result."""
    torch.set_num_threads(1)
    folder, params = Path(sys.argv[1]), load_params()
    [task] = params.tasks
    sources, bundle = Sources(params, task, read_table(), read_folds()), load_bundle(folder)
    rows = sources.table.select(task, "test")
    stored = read_predictions(predictions_path("stack", "ensemble", task), manifest=None)
    known = probabilities_of(stored, "test", rows["row_id"].tolist(), kind=bundle.kind)
    difference = np.abs(bundle.predict_probabilities(rows["text"].tolist()) - known).max()
    names = [name for name in bundle.members if params.stages[name] != "baseline"]
    many = pd.concat([rows] * N_TIMES, ignore_index=True).assign(repeat=0, fold=0)
    many["row_id"] = [str(number) for number in range(len(many))]
    ratios = []
    for fold in range(FOLDS):
        at_home = predict_as_the_stages_do(sources, names, many, fold)
        started = time.process_time()
        bundle.fold_values(fold, names, many, device="cpu")
        ratios.append((time.process_time() - started) / at_home)
    weights = sum(path.stat().st_size for path in (folder / "assets/weights").iterdir())
    needed = sum(path.stat().st_size for path in Path("out").glob("*/*/models/*/model.safetensors"))
    figures = {
        "rows": len(rows), "difference": float(difference), "weights_bytes": weights, "weights_over_needed": weights / needed,
        "folder_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "time_over_stages": ratios,
    }  # fmt: skip
    record("bundle", figures=figures, targets=TARGETS, libraries=("torch", "transformers", "numpy"))


if __name__ == "__main__":
    main()
