"""Further pre-training of an encoder: a unit of work that leaves a plain Hugging Face folder and the record of how it went.

Source: Gururangan et al., Don't Stop Pretraining, 2020 (TAPT, DAPT), https://arxiv.org/abs/2004.10964
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.artifacts.histories import HISTORY
from pipeline.models.batching import micro_batches
from pipeline.params.encoders import Pretraining
from pipeline.params.fields import Component
from pipeline.pretrain.corpus import Corpus, hold_out
from pipeline.pretrain.language_model import start_of
from pipeline.pretrain.pieces import blocks
from pipeline.pretrain.pretext import Pretext
from pipeline.reproducibility import derive_seed
from pipeline.training.fold_trainer import Trainee, train_in_place
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.scheduling import check_schedule
from pipeline.training_contracts import Objective
from pipeline.units.execution import Workspace


class HeldOut:
    """How well a pretext is done on texts that are not learnt: before training and after each epoch. A `Hook`.

    The scores stand in the checkpoints, so that a resumed training knows those of the epochs before.
    """

    def __init__(self, pretext: Pretext, objective: Objective | None, *, token_budget: int) -> None:
        self.pretext, self.objective, self.token_budget = pretext, objective, token_budget
        self.scores: list[dict[str, float]] = []

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Score the model as it is before the first step, or take the scores until now."""
        self.scores = list(state["scores"]) if state is not None else []
        if state is None and self.objective is not None:
            self.scores.append(self.measure(model))

    def after_step(self, step: int) -> None:
        """Do nothing: epochs are scored."""

    def weights(self, evaluate: Any) -> None:
        """Return nothing: the model keeps its weights."""

    def state(self) -> dict[str, Any]:
        """Return the scores."""
        return {"scores": self.scores}

    def evaluate(self, model: nn.Module) -> float:
        """Add the scores of an epoch and return what chooses one, higher is better."""
        self.scores.append(self.measure(model))
        return -self.scores[-1]["loss"]

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return the means of what the pretext measures over the texts held out, and the perplexity."""
        if self.objective is None:
            raise ValueError("no texts are held out.")
        lengths, device = self.objective.lengths, next(model.parameters()).device
        was_training, sums = model.training, dict[str, tuple[float, float]]()
        model.eval()
        for rows in micro_batches(np.arange(len(lengths)), lengths, token_budget=self.token_budget):
            batch = {name: tensor.to(device) for name, tensor in self.objective.batch(rows, 0).items()}
            for name, (total, n_items) in self.pretext.score_sums(batch).items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = before[0] + float(total), before[1] + n_items
        model.train(was_training)
        means = {name: total / n_items for name, (total, n_items) in sums.items()}
        return {**means, "perplexity": math.exp(min(means["loss"], 700.0))}


def build_pretraining(
    *, texts: Sequence[str], source: Component, settings: Pretraining, max_length: int, seed: int
) -> tuple[Trainee, HeldOut]:
    """Build what is pre-trained on texts, and what scores it.

    Args:
        texts: distinct ones, in a fixed order.
        source: where the encoder comes from.
        settings: of the pre-training.
        max_length: tokens per row of the fine-tuning that follows.
        seed: of all that is random.

    Raises:
        DataError: if there are too few texts.
        ParamsError: if the source cannot learn the pretext.
    """
    learnt, held_out = hold_out(texts, settings.held_out_ratio)
    length = settings.max_length or max_length
    longest = max(length, max_length)  # a model built from its configuration has so many positions
    start = start_of(source, texts=learnt, max_length=longest, seed=derive_seed(seed, "encoder"))
    pretext: Pretext = settings.pretext.build(
        start=start, masking=settings.masking.build(), mask_ratio=settings.mask_ratio, max_length=length,
        seed=derive_seed(seed, "pretext"),
    )  # fmt: skip
    rows = [blocks(start.tokenizer, part, max_length=length) for part in (learnt, held_out)]
    check_schedule(settings.training, len(rows[0]))
    steps_per_epoch = 0 if settings.static else -(-len(rows[0]) // settings.batch_size)
    objective = pretext.objective(
        rows[0], seed=derive_seed(seed, "rows"), epoch_of=lambda step: step // steps_per_epoch if steps_per_epoch else 0
    )
    scored = (
        pretext.objective(rows[1], seed=derive_seed(seed, "held out"), epoch_of=lambda step: 0) if rows[1] else None
    )
    measured = HeldOut(pretext, scored, token_budget=settings.tokens_per_micro_batch)
    counts = {"n_texts": len(learnt), "n_held_out": len(held_out), "n_rows": len(rows[0]), "notes": pretext.notes}
    groups = parameter_groups(pretext.model, nn.Module(), settings.training)
    evaluate = None if scored is None else measured.evaluate
    return Trainee(
        pretext.model, groups, objective, evaluate, settings.training, seed, pretext.save, counts, {"hooks": [measured]}
    ), measured


def pretrain(workspace: Workspace, *, corpus: Corpus, settings: Pretraining, **arguments: Any) -> None:
    """Pre-train an encoder, given as to `build_pretraining`, and write it and its history into the workspace's result.

    Kept is the epoch with the lowest loss on the texts held out, or without such the last.
    """
    trainee, measured = build_pretraining(texts=corpus.texts, settings=settings, **arguments)
    history = train_in_place(workspace, trainee)
    trainee.save(workspace.result)
    losses = np.nan_to_num([scores["loss"] for scores in measured.scores[1:]], nan=np.inf)
    kept = int(losses.argmin()) if np.isfinite(losses).any() else len(history.epochs) - 1
    seen = {"texts": corpus.counts, "transductive": settings.transductive, "per_fold": settings.per_fold}
    record = {**asdict(history), **trainee.counts, "seen": seen, "scores": measured.scores, "kept_epoch": kept}
    (workspace.result / HISTORY).write_text(json.dumps(record), encoding="utf-8")
