"""What ways to weigh tasks share: numbers per task that are part of the model, and a gradient that obeys them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from pipeline.training.gradient import plain
from pipeline.training_contracts import Gradient, TrainingStep

CURVE_POINTS = 100
ADDED = "+added"  # the name of what weights add to the losses: no task has such a one
Losses = dict[str, torch.Tensor]


class TaskWeights(nn.Module):
    """Weights of K tasks' losses. What changes lies in buffers or parameters: it is checkpointed with the model."""

    ones: torch.Tensor

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.register_buffer("ones", torch.ones(len(tasks)), persistent=False)

    def weights(self) -> torch.Tensor:
        """Return the weights (K,); they may carry a gradient."""
        return self.ones

    def added(self) -> torch.Tensor | None:
        """Return what stands beside the weighted losses of a step, 0-d, or None."""
        return None

    def update(self, losses: torch.Tensor, progress: float) -> None:
        """Learn from a step's losses (K,), NaN where a task had no rows; `progress` in (0, 1] of the training is done."""


class GradientWeights(TaskWeights):
    """Weights that read the tasks' gradients at what they share: all of it, or the last layer only."""

    def __init__(self, tasks: Sequence[str], *, on: str) -> None:
        super().__init__(tasks)
        self.on_last_layer = on == "last_layer"

    def combine(self, gramian: torch.Tensor, present: Sequence[int]) -> torch.Tensor:
        """Return factors (P,) for the shared gradients of the tasks that are present, given their inner products (P, P).

        The gradients are those of the losses times `weights`.
        """
        return torch.ones(len(gramian))


class GramianWeights(GradientWeights):
    """Weights that are a function (P, P) -> (P,) of the Gramian alone, such as torchjd has."""

    def __init__(self, tasks: Sequence[str], *, on: str, by: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(tasks, on=on)
        self.by = by

    def combine(self, gramian: torch.Tensor, present: Sequence[int]) -> torch.Tensor:
        """Return the factors (P,)."""
        return self.by(gramian)


@dataclass
class WeighedLosses:
    """A step whose losses are weighed by task: a `TrainingStep`.

    `unweighed` holds them as they were in the first pass, by micro-batch: before anything moved.
    """

    step: TrainingStep
    weighting: TaskWeights
    unweighed: dict[int, Losses] = field(default_factory=dict)

    @cached_property
    def batches(self) -> Sequence[dict[str, torch.Tensor]]:
        """Return the micro-batches; those of one task have its mask by its plain name too, for what moves its tokens."""
        masks = [
            [mask for name, mask in batch.items() if name.endswith(":attention_mask")] for batch in self.step.batches
        ]
        return [
            {**batch, "attention_mask": own[0]} if len(own) == 1 else batch
            for batch, own in zip(self.step.batches, masks, strict=True)
        ]

    def losses(self, number: int) -> Losses:
        """Return a micro-batch's losses, weighed; what is added stands in the first."""
        losses = self.step.losses(number)
        self.unweighed.setdefault(number, {name: loss.detach() for name, loss in losses.items()})
        # Anew each time: a graph over weights that learn serves one backward pass.
        weights = dict(zip(self.weighting.tasks, self.weighting.weights(), strict=True))
        weighed = {name: loss * weights.get(name, 1.0) for name, loss in losses.items()}
        added = self.weighting.added() if number == 0 else None
        return weighed if added is None else {**weighed, ADDED: added}

    def outputs(self, number: int) -> torch.Tensor:
        """Return the model's outputs for a micro-batch."""
        return self.step.outputs(number)

    def backward(self, loss: torch.Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradient of a loss."""
        self.step.backward(loss, retain_graph=retain_graph)


class TaskGradient:
    """The way to the gradient of several tasks, weighed: a `Gradient`, and the `Hook` by which the weights learn.

    Args:
        weighting: part of the model that is trained.
        shared: the parameters that all tasks share.
        last: of them those of the last layer.
        within: the way to the gradient of the weighed losses, for weights that do not read gradients themselves.
    """

    def __init__(
        self, weighting: TaskWeights, *, shared: Iterable[nn.Parameter] = (), last: Iterable[nn.Parameter] = (),
        within: Gradient = plain,
    ) -> None:  # fmt: skip
        self.weighting, self.shared, self.last = weighting, list(shared), {id(parameter) for parameter in last}
        self.within = within
        self.curve: list[dict[str, Any]] = []

    def __call__(self, model: nn.Module, step: TrainingStep) -> dict[str, float]:
        """Accumulate the gradient and return the losses, not weighed, but for what the way within adds to them."""
        weighed = WeighedLosses(step, self.weighting)
        found: Mapping[str, float] = {}
        if isinstance(self.weighting, GradientWeights):
            self._task_by_task(weighed, self.weighting)
        else:
            found = self.within(model, weighed)
        losses: dict[str, float] = {}
        for part in weighed.unweighed.values():
            losses |= {name: losses.get(name, 0.0) + float(loss) for name, loss in part.items()}
        self.losses = torch.tensor([losses.get(task, torch.nan) for task in self.weighting.tasks])
        return {name: loss for name, loss in {**found, **losses}.items() if name != ADDED}

    def _task_by_task(self, step: WeighedLosses, weighting: GradientWeights) -> None:
        """Take each task's gradient by itself; a combination of them remains in what is shared."""
        gradients: dict[str, list[torch.Tensor]] = {}
        for number in range(len(step.batches)):
            losses, tasks = step.losses(number), weighting.tasks
            for name in sorted(losses, key=lambda name: name in tasks):  # a penalty is of the passes of the tasks
                step.backward(losses[name], retain_graph=name not in tasks)
                taken = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.shared]
                known = gradients.get(name)
                gradients[name] = taken if known is None else [a + b for a, b in zip(known, taken, strict=True)]
                for parameter in self.shared:
                    parameter.grad = None
        present = [place for place, task in enumerate(weighting.tasks) if task in gradients]
        of_tasks = [gradients.pop(weighting.tasks[place]) for place in present]
        read = [p for p, one in enumerate(self.shared) if not weighting.on_last_layer or id(one) in self.last]
        products = [sum((a[p] * b[p]).sum().double() for p in read) for a in of_tasks for b in of_tasks]
        gramian = torch.stack([torch.as_tensor(product) for product in products]).cpu()  # at once: a GPU waits for each
        factors = weighting.combine(gramian.double().reshape(len(present), len(present)), present).tolist()
        for place, parameter in enumerate(self.shared):
            parts = [factor * of_task[place] for factor, of_task in zip(factors, of_tasks, strict=True)]
            parameter.grad = torch.stack([*parts, *(rest[place] for rest in gradients.values())]).sum(dim=0)

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Take the curve so far; the weights are in the model's state."""
        self.n_steps = n_steps
        self.curve = [] if state is None else list(state["curve"])

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Let the weights learn from the step's losses, and note them."""
        self.weighting.update(self.losses.to(self.weighting.ones), step / self.n_steps)
        if step % -(-self.n_steps // CURVE_POINTS) == 0:
            weights: Mapping[str, float] = dict(
                zip(self.weighting.tasks, self.weighting.weights().tolist(), strict=True)
            )
            self.curve.append({"step": step, "weights": weights})

    def weights(self, evaluate: Any) -> None:
        """Give none of the model's."""

    def state(self) -> dict[str, Any]:
        """Return the curve of the tasks' weights."""
        return {"curve": self.curve}
