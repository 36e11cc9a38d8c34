"""Leaks that predictions show: made over other folds, or by no stacker that never saw the rows it is scored on."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds
from pipeline.contracts import Stacker, TaskKind
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


def not_cross_fitted(
    members: Members, ensemble: Predictions, ladder: Mapping[str, Callable[[], Stacker]], state: Mapping[str, Any]
) -> Iterator[Leak]:
    """Yield an ensemble whose out-of-fold predictions no rung gives that never saw the row's fold, in any repeat.

    Each fold's rung was chosen without the fold, so it need not be the final one of `state`, what `Ensemble.state` wrote:
    that is tried first, then the others. If decisions were tuned, predictions count as the same up to them.
    It is certain where they are those of the mean of all stackers, each of which saw all folds but one.
    """
    names = sorted(ladder, key=lambda name: name != state["rung"])
    scaled = state["decision"] is not None
    stackers = [_loaded(ladder[state["rung"]], part) for of_repeat in state["states"] for part in of_repeat]
    for repeat, (inputs, folds) in enumerate(zip(members.out_of_fold, members.folds, strict=True)):
        stored = probabilities_of(ensemble, "oof", members.train.ids, kind=members.kind, repeat=repeat)
        for fold in range(int(folds.max()) + 1):
            inside = folds == fold
            rest = inputs[~inside], members.train.labels[~inside]
            honest = (_fitted(ladder[name], *rest).predict(inputs[inside]) for name in names)
            if any(_same(stored[inside], values, members.kind, scaled=scaled) for values in honest):
                continue
            blend = np.mean([stacker.predict(inputs[inside]) for stacker in stackers], axis=0)
            in_sample = _same(stored[inside], blend, members.kind, scaled=scaled)
            yield Leak(
                "stacker scored in-sample" if in_sample else "ensemble not cross-fitted", members.task,
                f"{predictions_path('stack', ENSEMBLE, members.task)}: each fold must be predicted by a stacker that never "
                f"saw it, got {'all stackers' if in_sample else 'what none predicts'} in repeat {repeat}, fold {fold}. "
                "Run dvc repro --force --single-item stack",
                certain=in_sample,
            )  # fmt: skip
            return


def _loaded(build: Callable[[], Stacker], state: dict[str, Any]) -> Stacker:
    stacker = build()
    stacker.load_state(state)
    return stacker


def _fitted(build: Callable[[], Stacker], probabilities: np.ndarray, labels: np.ndarray) -> Stacker:
    stacker = build()
    stacker.fit(probabilities, labels)
    return stacker


def _same(stored: np.ndarray, honest: np.ndarray, kind: TaskKind, *, scaled: bool) -> bool:
    near = SAME * float(np.abs(honest).max())
    return bool(np.abs(stored - honest).max() <= near) or (scaled and kind.is_decision_of(stored, honest, within=near))
