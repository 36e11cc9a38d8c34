"""The training loop, written once: fine-tuning, and whatever else trains, gives it an objective.

What varies plugs in: how a gradient comes about (`Gradient`), and what goes along, such as averages of weights (`Hook`).
Nothing depends on time, worker or history: the order of rows is a function of seed and epoch, dropout of seed and step.
So a run that is killed and resumed from a checkpoint ends in the same bytes as one that was left alone.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.artifacts.histories import RollbackRecord
from pipeline.errors.exceptions import DivergedError, InterruptedRun
from pipeline.errors.failpoints import failpoint
from pipeline.models.accelerators import accelerator_for, checkpoint_gradients
from pipeline.models.batching import epoch_batches
from pipeline.params.encoders import Training
from pipeline.reproducibility import same_gradients
from pipeline.training.gradient import RowsOfStep, plain, smaller_budget
from pipeline.training.history import History
from pipeline.training.scheduling import n_steps_of, n_warmup_steps_of
from pipeline.training.weights import OptimizerAverage, copied
from pipeline.training_contracts import Gradient, Hook, Monitor, Objective
from pipeline.units.checkpoints import Checkpoints

CURVE_POINTS = 200
MAX_ROLLBACKS = 2
log = logging.getLogger(__name__)


def train(
    model: nn.Module,
    objective: Objective,
    parameter_groups: list[dict[str, Any]],
    *,
    settings: Training,
    seed: int,
    device: str = "auto",
    checkpoints: Checkpoints | None = None,
    monitor: Monitor | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    gradient: Gradient = plain,
    hooks: Sequence[Hook] = (),
    order: Callable[..., list[np.ndarray]] = epoch_batches,
) -> History:
    """Train a model in place and return its history.

    With `evaluate` (higher is better, called after every epoch) the model ends with the weights of the best epoch,
    without it with those of the last one; where a hook gives weights, with the hook's instead of the model's own.

    Args:
        parameter_groups: the optimizer's, each with `lr` and `weight_decay`.
        seed: of the order and of dropout.
        device: auto, cpu or cuda.
        checkpoints: where the state is kept and resumed from.
        evaluate: scores the model on rows it was not trained on and that score no fold.
        hooks: what goes along; the first that gives weights at an epoch's end decides.
        order: gives the batches of an epoch, always so many as all rows fill: see `epoch_batches`.

    Raises:
        DivergedError: if the loss or a gradient is not finite; the last checkpoint stays.
        MachineError: if a single row does not fit into memory.
        InterruptedRun: if the monitor asked to stop; a checkpoint was written.
    """
    accelerator = accelerator_for(settings.precision, device)
    if settings.gradient_checkpointing:
        checkpoint_gradients(model)
    model.to(accelerator.device)  # before the optimizer, which may keep copies of the weights from the start
    optimizer = settings.optimizer.build(parameter_groups=parameter_groups)
    model, optimizer = accelerator.prepare(model, optimizer)
    if settings.optimizer.constant("AVERAGES"):
        hooks = [*hooks, OptimizerAverage(optimizer)]
    loop = _Loop(model, optimizer, objective, accelerator, settings, seed, gradient, hooks, monitor, checkpoints, order)
    loop.begin()
    # Counted in ended epochs: a checkpoint after an epoch's last step is from before the epoch was scored.
    for epoch in range(len(loop.history.epochs), settings.epochs):
        loop.run_epoch(epoch)
        loop.end_epoch(epoch, evaluate)
    if loop.best is not None:
        model.load_state_dict(loop.best["weights"])
    loop.count_seconds()
    return loop.history


@dataclass
class _Loop:
    """The state of a training between steps."""

    model: nn.Module
    optimizer: Any
    objective: Objective
    accelerator: Accelerator
    settings: Training
    seed: int
    gradient: Gradient
    hooks: Sequence[Hook]
    monitor: Monitor | None
    checkpoints: Checkpoints | None
    order: Callable[..., list[np.ndarray]]

    def __post_init__(self) -> None:
        settings, checkpoints = self.settings, self.checkpoints
        self.steps_per_epoch = -(-len(self.objective.lengths) // settings.batch_size)
        self.n_steps = n_steps_of(settings, len(self.objective.lengths))
        n_warmup_steps = n_warmup_steps_of(settings, self.n_steps)
        self.factor = settings.schedule.build(n_steps=self.n_steps, n_warmup_steps=n_warmup_steps)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        self.token_budget = settings.tokens_per_micro_batch
        self.repeatable = True
        self.history = History(token_budget=self.token_budget)
        rolls_back = settings.not_finite == "rollback"
        self.epoch_starts = checkpoints.beside("epoch_start") if checkpoints and rolls_back else None
        self.window: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None
        self.saved_at = self.counted_at = self.started_at = time.monotonic()
        self.tokens_since_start = 0

    def begin(self) -> None:
        """Go on from a checkpoint; without one try the longest rows: what memory lacks shows now, not hours later."""
        if self.checkpoints is not None and (state := self.checkpoints.load()) is not None:
            self.restore(state)
            share = 100 * self.step / self.n_steps
            log.info("%s: resumed at step %d of %d (%.0f %%)", self.checkpoints.name, self.step, self.n_steps, share)
            return
        self.model.train()
        self.fitting(np.argsort(-self.objective.lengths, kind="stable")[: self.settings.batch_size])
        self.optimizer.zero_grad()
        self.started_at = time.monotonic()
        for hook in self.hooks:  # only now: what they freeze will need memory once it thaws
            hook.begin(self.model, step=0, n_steps=self.n_steps, state=None)

    def run_epoch(self, epoch: int) -> None:
        """Take the steps of an epoch that are left, from its start again where the loss or a gradient was not finite."""
        while True:
            if self.epoch_starts is not None and self.step == epoch * self.steps_per_epoch:
                self.epoch_starts.start_over(self.step, self.state())
            try:
                return self.take_steps(epoch)
            except DivergedError as error:
                self.roll_back(error)

    def take_steps(self, epoch: int) -> None:
        """Take the steps of an epoch that are left, and a checkpoint whenever one is due."""
        lengths = self.objective.lengths
        batches = self.order(lengths, batch_size=self.settings.batch_size, seed=self.seed, epoch=epoch)
        self.model.train()
        for rows in batches[self.step - epoch * self.steps_per_epoch :]:
            self.record(epoch, self.train_step(rows), int(lengths[rows].sum()))
            failpoint("step")
            self.checkpoint_if_due()

    def train_step(self, rows: np.ndarray) -> dict[str, float]:
        """Take a step with some rows and return their losses, unless these or the gradient are not finite."""
        lowered = 0.5 ** len(self.history.rollbacks)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(self.step) * lowered
        losses = self.fitting(rows)
        loss = sum(losses.values())
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        # With fp16 an infinite gradient is the scaler's business: it skips the step and lowers its scale.
        if not np.isfinite(loss) or (self.accelerator.scaler is None and not bool(torch.isfinite(norm))):
            kept = "The last checkpoint and all finished units; no step was taken with this gradient."
            raise DivergedError(
                f"step {self.step}: the loss and gradient must be finite, got loss {loss} and gradient norm {float(norm)} "
                f"at learning rate {self.optimizer.param_groups[-1]['lr']:.1e}, rows {sorted(rows.tolist())}. "
                "Halve the learning rate, use precision fp32 or bf16, or set not_finite: rollback.",
                code="E501", kept=kept,
            )  # fmt: skip
        self.optimizer.step()
        return losses

    def roll_back(self, error: DivergedError) -> None:
        """Go back to the epoch's start, at half the rate; a checkpoint's step would depend on time, an epoch's does not."""
        state = None if self.epoch_starts is None else self.epoch_starts.load()
        if self.checkpoints is None or state is None or len(self.history.rollbacks) >= MAX_ROLLBACKS:
            raise error
        log.warning("%s; going back to step %d at half the rate", error, state["step"])
        rollback: RollbackRecord = {"from": self.step, "to": state["step"]}
        rollbacks = [*self.history.rollbacks, rollback]  # the restored history lacks those of this epoch
        self.restore(state)
        self.history.rollbacks = rollbacks
        # Checkpoints of the steps gone back over would, after a kill, be resumed at the full rate.
        self.checkpoints.start_over(self.step, self.state())

    def fitting(self, rows: np.ndarray) -> dict[str, float]:
        """Return the losses of the rows once their gradient is there, in micro-batches as small as memory asks for."""
        while True:
            self.optimizer.zero_grad()
            where = self.step, self.step / self.n_steps, self.seed, self.token_budget
            step = RowsOfStep(self.model, self.objective, self.accelerator, rows, *where)
            try:
                with same_gradients(self.repeatable):
                    return self.gradient(self.model, step)
            except (RuntimeError, MemoryError) as error:
                if self.repeatable and "deterministic" in str(error):  # torch's own word for what it cannot repeat
                    self.repeatable = False
                    log.warning("step %d: this model's gradients may differ from run to run: %s", self.step, error)
                    continue
                longest, adapts = int(self.objective.lengths[rows].max()), self.settings.out_of_memory == "adapt"
                budget = smaller_budget(self.token_budget, error, longest=longest, step=self.step, adapts=adapts)
                self.token_budget = self.history.token_budget = budget

    def record(self, epoch: int, losses: dict[str, float], n_tokens: int) -> None:
        """Note that a step was taken, where the history, hooks and the monitor know of it."""
        self.step += 1
        self.window.append(losses)
        self.history.n_tokens += n_tokens
        self.tokens_since_start += n_tokens
        for hook in self.hooks:
            hook.after_step(self.step)
        if len(self.window) >= -(-self.n_steps // CURVE_POINTS) or self.step == self.n_steps:
            self.history.add_step(self.step, epoch, self.window, self.optimizer.param_groups[-1]["lr"])
            self.window = []
        if self.monitor is not None:
            speed, loss = self.tokens_since_start / (time.monotonic() - self.started_at), sum(losses.values())
            self.monitor.progress(step=self.step, n_steps=self.n_steps, loss=loss, tokens_per_second=speed)

    def end_epoch(self, epoch: int, evaluate: Callable[[nn.Module], float] | None) -> None:
        """Score an epoch and keep its weights if they are the best, or those that a hook gives in their place."""
        offered = (hook.weights(evaluate) for hook in self.hooks)
        averaged, trained = next((weights for weights in offered if weights is not None), None), None
        if averaged is not None:
            trained = copied(self.model.state_dict())
            self.model.load_state_dict(averaged)
        score = None if evaluate is None else evaluate(self.model)
        self.history.add_epoch(epoch, score)
        if score is not None and np.isfinite(score):  # a metric may be undefined on few inner rows
            if self.best is None or score > self.best["score"]:
                self.best = {"score": score, "weights": copied(self.model.state_dict())}
            if self.monitor is not None:
                self.monitor.progress(score=score)
        if trained is not None and epoch + 1 < self.settings.epochs:  # the next step goes on from what was trained
            self.model.load_state_dict(trained)

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint if it is time, or if the monitor asks to stop, and then stop."""
        code = None if self.monitor is None else self.monitor.stop_requested()
        due = code or time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        if self.checkpoints is not None and due:
            self.checkpoints.save(self.step, self.state())
            self.saved_at = time.monotonic()
        if code:
            raise InterruptedRun(f"interrupted at step {self.step} of {self.n_steps}. Run dvc repro to continue.", code)

    def count_seconds(self) -> None:
        """Add the time since it was last counted."""
        now = time.monotonic()
        self.history.seconds += now - self.counted_at
        self.counted_at = now

    def state(self) -> dict[str, Any]:
        """Return all from which the training can go on, as a tree that checkpoints hold."""
        self.count_seconds()
        scaler = self.accelerator.scaler
        return {
            "step": self.step, "token_budget": self.token_budget, "window": self.window,
            "history": vars(self.history), "best": self.best,
            "weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "hooks": [hook.state() for hook in self.hooks],
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.step, self.token_budget, self.window = state["step"], state["token_budget"], state["window"]
        self.history, self.best = History(**state["history"]), state["best"]
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        # Hooks begin last: they take the restored weights for the model's.
        for hook, kept in zip(self.hooks, state["hooks"], strict=True):
            hook.begin(self.model, step=self.step, n_steps=self.n_steps, state=kept)
