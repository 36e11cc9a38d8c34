"""A small regression to train, shared by the tests of the loop."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline.params.encoders import Training
from pipeline.training.loop import train


@dataclass
class Regression:
    """A linear model on fixed points; a row's length is what the test says."""

    lengths: np.ndarray
    inputs: torch.Tensor
    fail_at: int | None = None
    error: Exception = dataclasses.field(default_factory=lambda: torch.OutOfMemoryError("CUDA out of memory."))
    calls: int = 0
    seen: list[int] = dataclasses.field(default_factory=list)

    def batch(self, rows, step):
        return {"inputs": self.inputs[torch.from_numpy(rows)]}

    def weights(self, batch):
        return {"loss": float(len(batch["inputs"]))}

    def loss_sums(self, model, batch, progress):
        self.calls += 1
        self.seen.append(len(batch["inputs"]))
        if self.calls == self.fail_at:
            raise self.error
        return {"loss": ((model(batch["inputs"]) - 1) ** 2).sum()}


def problem(lengths: list[int] | None = None, **changes) -> tuple[nn.Module, Regression]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    inputs = torch.randn(20, 3)
    return model, Regression(np.array(lengths or [5] * 20), inputs, **changes)


def settings(**changes) -> Training:
    return Training.model_validate({"epochs": 3, "batch_size": 7, "learning_rate": 0.05, **changes})


def groups(model: nn.Module) -> list[dict]:
    return [{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.0}]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def run(model: nn.Module, objective: Regression, training: Training, **arguments):
    return train(model, objective, groups(model), settings=training, seed=3, device="cpu", **arguments)


@dataclass
class Spike(Regression):
    """Regression whose loss is not finite at step 4, the first times that it is taken."""

    n_spikes: int = 1
    step: int = 0

    def batch(self, rows, step):
        self.step = step
        return super().batch(rows, step)

    def loss_sums(self, model, batch, progress):
        losses = super().loss_sums(model, batch, progress)
        if self.step == 4 and self.n_spikes > 0:
            self.n_spikes -= 1
            return {"loss": losses["loss"] * float("nan")}
        return losses


class StopAt:
    """A monitor that asks to stop at a step."""

    def __init__(self, step: int) -> None:
        self.step, self.now = step, 0

    def progress(self, **values: float) -> None:
        self.now = int(values.get("step", self.now))

    def stop_requested(self) -> int | None:
        return 143 if self.now >= self.step else None
