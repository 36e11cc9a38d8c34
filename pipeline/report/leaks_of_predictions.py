"""Leaks that predictions show: made over other folds, or by a stacker that saw the rows that it is scored on."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds
from pipeline.contracts import Stacker
from pipeline.ensemble.members import Members, in_other_folds
from pipeline.report.leak_signs import Leak

SAME = 1e-4  # predictions are stored as float32 logarithms
ENSEMBLE = "ensemble"


def made_over_other_folds(predictions: Mapping[str, Predictions], folds: Folds) -> Iterator[Leak]:
    """Yield the members made from another fold manifest, and those that scored a row in another fold than its own."""
    for name, made in predictions.items():
        again = f"Make them again: dvc repro, or --force for the stage of {name}"
        if made.manifest != folds.digest:
            yield Leak(
                "predictions of another fold manifest", made.task,
                f"predictions of {name}: must be made from the fold manifest {folds.digest[:12]}…, got "
                f"{made.manifest[:12]}…: their models may have trained on the rows they score. {again}",
            )  # fmt: skip
        elif name != ENSEMBLE:  # which numbers its folds by itself
            wrong = in_other_folds(made, folds.rows[folds.rows["task"] == made.task])
            if len(wrong):
                row = wrong.iloc[0]
                yield Leak(
                    "rows scored in another fold", made.task,
                    f"predictions of {name}: each row must be scored by the model of its fold, got {len(wrong)} that are "
                    f"not, first {row['row_id']!r}: fold {row['fold_of_row']}, scored in {row['fold']}. {again}",
                )  # fmt: skip


def stacked_in_sample(
    members: Members, ensemble: Predictions, state: Mapping[str, Any], build: Callable[[], Stacker]
) -> Iterator[Leak]:
    """Yield an ensemble whose out-of-fold predictions are those of the stacker that was fitted on the very rows.

    Some rungs give the same either way (a mean fits nothing): it is a leak only where a stacker fitted without a fold
    would have given that fold other predictions. `state` is what `Ensemble.state` wrote of the ensemble of the members,
    and `build` makes the unfitted stacker of the chosen rung.
    """
    stacker = build()
    stacker.load_state(state["state"])
    inputs, scored = members.out_of_fold[0], members.folds[0] == 0
    stored = probabilities_of(ensemble, "oof", members.train.ids, kind=members.kind, repeat=0)
    in_sample = decided = stacker.predict(inputs)
    if state["decision"] and state["decision"]["used"]:
        decided = members.kind.apply_decision(in_sample, state["decision"]["scales"])
    if np.abs(stored - decided).max() > SAME:
        return
    honest = build()
    honest.fit(inputs[~scored], members.train.labels[~scored])
    if np.abs(honest.predict(inputs[scored]) - in_sample[scored]).max() > SAME:
        yield Leak(
            "stacker scored in-sample", members.task,
            f"{predictions_path('stack', ENSEMBLE, members.task)}: must come from stackers that never saw the "
            f"row's fold, got those of {state['rung']} fitted on all rows. Run dvc repro --force --single-item stack",
        )  # fmt: skip
