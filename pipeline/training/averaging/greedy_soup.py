"""Greedy soup: the mean of those epochs' weights that together score best on the inner rows.

Source: Wortsman et al., Model Soups, 2022, recipe 1, https://arxiv.org/abs/2203.05482
Differs from the paper: the ingredients are the epochs of one training, not trainings with several settings.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.training.weights import copied, mean_of

NEEDS_SCORES = True


class Soup:
    """Keeps each epoch's weights on the CPU and, after the last one, adds them from the best on while the score rises."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Take the model, and the epochs that there are."""
        self.model, self.step, self.n_steps = model, step, n_steps
        self.epochs = [] if state is None else list(state["epochs"])

    def after_step(self, step: int) -> None:
        """Note the step."""
        self.step = step

    def weights(self, evaluate: Callable[[nn.Module], float] | None) -> dict[str, torch.Tensor] | None:
        """Return the soup after the last step, before it None."""
        if evaluate is None:
            raise ParamsError("averaging: greedy_soup needs scores. Set epoch_selection: inner.", code="E203")
        trained, score = copied(self.model.state_dict()), evaluate(self.model)
        self.epochs.append({"weights": trained, "score": score if np.isfinite(score) else None})
        if self.step < self.n_steps:
            return None
        scored = [epoch for epoch in self.epochs if epoch["score"] is not None]
        ranked = sorted(scored, key=lambda epoch: -epoch["score"])  # of equal ones the earlier first
        if not ranked:
            return None
        soup, best = ranked[:1], ranked[0]["score"]
        for epoch in ranked[1:]:
            self.model.load_state_dict(mean_of([part["weights"] for part in [*soup, epoch]]))
            if (score := evaluate(self.model)) >= best:
                soup, best = [*soup, epoch], score
        self.model.load_state_dict(trained)
        return mean_of([part["weights"] for part in soup])

    def state(self) -> dict[str, Any]:
        """Return the epochs' weights and scores."""
        return {"epochs": self.epochs}


def build() -> Soup:
    """Return the hook."""
    return Soup()
