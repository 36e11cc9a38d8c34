"""What a training leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.artifacts.histories import EpochRecord, RollbackRecord, StepRecord


@dataclass
class History:
    """What a training left behind for the report."""

    steps: list[StepRecord] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)
    rollbacks: list[RollbackRecord] = field(default_factory=list)
    token_budget: int = 0
    n_tokens: int = 0
    seconds: float = 0.0

    def add_step(self, step: int, epoch: int, losses: Sequence[dict[str, float]], learning_rate: float) -> None:
        """Add a point of the curves: the mean of the losses since the last one, and of each by itself if they have names.

        >>> history = History()
        >>> history.add_step(2, 0, [{"a": 1.0, "b": 4.0}, {"a": 2.0}], 0.1)
        >>> history.steps[0]["loss"], history.steps[0]["losses"]
        (3.5, {'a': 1.5, 'b': 4.0})
        """
        mean = sum(sum(values.values()) for values in losses) / len(losses)
        record: StepRecord = {"step": step, "epoch": epoch, "loss": mean, "learning_rate": learning_rate}
        names = dict.fromkeys(name for values in losses for name in values)
        if set(names) != {"loss"}:  # a step has only those losses of which it has rows
            named = {name: [values[name] for values in losses if name in values] for name in names}
            record["losses"] = {name: sum(values) / len(values) for name, values in named.items()}
        self.steps.append(record)

    def add_epoch(self, epoch: int, inner_score: float | None) -> None:
        """Add an epoch with the mean loss of its points and the score on the rows that choose the epoch."""
        losses = [point["loss"] for point in self.steps if point["epoch"] == epoch]
        self.epochs.append({"epoch": epoch, "loss": float(np.mean(losses or [np.nan])), "inner_score": inner_score})
