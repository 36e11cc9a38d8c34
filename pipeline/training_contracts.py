"""What plugs into the training loop, which is edited for none of it: an objective, a way to the gradient, hooks, a monitor.

And what the components offer of which these are made, as `contracts.py` says of the others: the `Build...` protocols.
Shapes: B rows of a batch, N rows, C labels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """What is trained: rows to batches, batches to summed losses by name; most have one, `loss`."""

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each training row (N,)."""

    def batch(self, rows: np.ndarray, step: int) -> "Batch":
        """Return the tensors of some rows of a step; how a step's rows are cut into batches must not change its losses."""

    def weights(self, batch: "Batch") -> dict[str, float]:
        """Return how many items (rows, or predicted tokens) each of the batch's losses sums over."""

    def loss_sums(self, model: "nn.Module", batch: "Batch", progress: float) -> "dict[str, torch.Tensor]":
        """Return 0-d tensors, none for a loss without items; `progress` in [0, 1) is the share of steps done."""


class TrainingStep(Protocol):
    """The rows of one optimizer step, cut into micro-batches that fit into memory."""

    @property
    def batches(self) -> "Sequence[Batch]":
        """Return the micro-batches."""

    def losses(self, number: int) -> "dict[str, torch.Tensor]":
        """Return a micro-batch's losses, 0-d, always under the same dropout; those of all add up to the step's means."""

    def outputs(self, number: int) -> "torch.Tensor":
        """Return what the model gives for a micro-batch, (B, C), under the dropout of its losses."""

    def backward(self, loss: "torch.Tensor", *, retain_graph: bool = False) -> None:
        """Add the gradient of a loss to that of the parameters; with fp16 both are scaled.

        `retain_graph` where another loss of the same pass is still to come.
        """


class Gradient(Protocol):
    """How a step's gradient comes about: adversarial ways perturb what a batch reads, multi-task ways weigh several losses.

    It leaves the gradient in the parameters, which have none before, and all else as it was, also when it ends in an error:
    it is called again, with smaller micro-batches, when memory runs out. As it is tried before the first step, what it
    keeps changes only in `after_step`: then it is a `Hook` too.
    """

    def __call__(self, model: "nn.Module", step: TrainingStep) -> dict[str, float]:
        """Return the step's losses by name; their sum is logged as the loss, and ends the training if it is not finite."""


class BuildAdapter(Protocol):
    """`adapters/`: put into a model, in place, what learns while its own parameters are frozen; the model is returned.

    It is a function of the seed, and changes no state before it has learnt. Its file has `merge(*, model)` too, which brings
    it into the model's own weights, all in float32. Its encoder's file has `folder(*, options)`: where the checkpoint lies.
    """

    def __call__(self, *, model: "PreTrainedModel", seed: int) -> "nn.Module": ...


class BuildOptimizer(Protocol):
    """`optimizers/`: an optimizer over parameter groups that carry their own `lr` and `weight_decay`, and more.

    `holds_hidden_matrices` says of a group that it is of weights in layers. `AVERAGES = True`: what to predict with is an
    average that `eval()` brings into the model and `train()` takes away; `KEEPS`: copies of the weights that it keeps.
    """

    def __call__(self, *, parameter_groups: list[dict[str, Any]]) -> "torch.optim.Optimizer": ...


class BuildSchedule(Protocol):
    """`schedules/`: a function step -> factor of the learning rate in [0, 1], for steps 0 to n_steps - 1.

    `RESTARTS = True`: it rises again after the warm-up; `FALLS = False`: it never falls.
    """

    def __call__(self, *, n_steps: int, n_warmup_steps: int) -> Callable[[int], float]: ...


class BuildClassWeights(Protocol):
    """`class_weights/`: how much a row of each class counts, C numbers >= 0; `counts` (C,) are the rows that are trained on.

    `FORMS`, as of losses; `NAMES_LABELS`: the option whose keys are labels.
    """

    def __call__(self, *, labels: "Sequence[str]", counts: "Sequence[int]") -> list[float]: ...


class Penalty(Protocol):
    """What a way of sharing adds to the losses of its tasks."""

    def __call__(self, classifiers: Mapping[str, "nn.Module"], n_rows: Mapping[str, int]) -> "torch.Tensor | None":
        """Return the penalty summed over the rows of a batch, 0-d, or None.

        Args:
            classifiers: of all tasks, after those of `n_rows` have read the batch.
            n_rows: rows of each task that has any.
        """


class BuildSharing(Protocol):
    """`sharing/`: what the models of several tasks share. `ENCODERS`: "one", "each" task has one, or "apart".

    The penalty may be a module, which learns at the readouts' rate and is not kept. Its file may have a function
    `stage(*, hidden_size, n_layers, <its options>)`: a module (L + 1 hidden states (B, T, H), mask (B, T)) -> hidden states,
    which stands between the encoder and the readout of each task, a part of the task's model.
    """

    def __call__(self, *, tasks: Sequence[str], hidden_size: int) -> Penalty: ...


class BuildTaskWeighting(Protocol):
    """`task_weighting/`: how much each task's loss counts, a `TaskWeights`. `NEEDS_ALL`: only of batches of all tasks.

    `NAMES_TASKS`: the option whose keys are tasks.
    """

    def __call__(self, *, tasks: Sequence[str]) -> "nn.Module": ...


class BuildAdversarial(Protocol):
    """`adversarial/`: a way to the gradient that moves what the model reads, or its weights, to where the loss is larger.

    `MOVES`: the options with which it moves the weights of the token embeddings, which must learn; an encoder's `FREEZES`:
    those with which they do not. `FORMS`, as of losses. `OF_ONE_TASK`: it needs a model, or with "batches" batches, of one
    task only.
    """

    def __call__(self) -> Gradient: ...


class Hook(Protocol):
    """What goes along with a training: averages of the weights, layers that thaw as steps go by.

    Only its state, the model and the step may decide what it does: a resumed training must end in the same bits.
    """

    def begin(self, model: "nn.Module", *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Take the model at step 0 without a state, or at a later one with the state from which to go on."""

    def after_step(self, step: int) -> None:
        """Do what is due when so many steps are done."""

    def weights(self, evaluate: "Callable[[nn.Module], float] | None") -> "dict[str, torch.Tensor] | None":
        """Return the state dict that is scored, and kept, at an epoch's end in place of the model's own, or None.

        `evaluate` (higher is better) scores the model with the weights that it has; it must be left with its own.
        """

    def state(self) -> dict[str, Any]:
        """Return a tree of dicts, lists, numbers, strings and tensors, for the checkpoint."""


class BuildAveraging(Protocol):
    """`averaging/`: a hook that gives weights made of several. `NEEDS_SCORES = True`: only with `epoch_selection: inner`."""

    def __call__(self) -> Hook: ...


class Monitor(Protocol):
    """Whoever watches a unit: takes its progress and may ask it to stop."""

    def progress(self, **values: float) -> None:
        """Take step, n_steps, loss, score and tokens_per_second."""

    def stop_requested(self) -> int | None:
        """Return the exit code to stop with (143 or 130), or None."""
