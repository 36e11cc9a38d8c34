"""UDA: the loss of the labelled rows, and unlabelled rows whose variants must be predicted as they are themselves.

Source: Xie et al., Unsupervised Data Augmentation for Consistency Training, 2020, https://arxiv.org/abs/1904.12848, and its
code, https://github.com/google-research/uda
Differs from the code: annealing leaves rows out of the sum, and the sum is divided by all labelled rows, not by those that
stay, so that a step may be cut into micro-batches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pipeline.ranges import NotNegativeFloat, PositiveFloat, PositiveInt, Probability
from pipeline.training.classification import ORIGINAL, VARIANT, part

FORMS = ("class",)
READS = "unlabelled"
SCALE = 5  # of log and exp: they start or end at exp(-5)


@dataclass(frozen=True)
class Uda:
    """The objective; a batch carries `ratio` unlabelled rows per labelled one."""

    loss: Callable[..., torch.Tensor]
    n_outputs: int
    tsa: str
    weight: float
    temperature: float
    confidence: float
    ratio: int

    def __call__(self, model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        labels = batch["labels"]
        logits = model(batch)
        losses = self.loss(logits, labels)
        if self.tsa != "none":
            sure = logits.detach().float().softmax(dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)  # (B,)
            losses = losses.masked_fill(sure > threshold(self.tsa, progress, n_outputs=self.n_outputs), 0.0)
        with torch.no_grad():
            originals = model(part(batch, ORIGINAL))
        variants = model(part(batch, VARIANT))
        differences = inconsistency(originals, variants, temperature=self.temperature, confidence=self.confidence)
        # The mean over the unlabelled rows, times the labelled rows: the loop divides by these.
        return losses.sum() + self.weight * differences.sum() * (len(labels) / len(differences))


def build(
    *,
    loss: Callable[..., torch.Tensor],
    n_outputs: int,
    tsa: Literal["none", "linear", "log", "exp"] = "none",
    weight: NotNegativeFloat = 1.0,
    temperature: PositiveFloat = 0.85,
    confidence: Probability = 0.0,
    ratio: PositiveInt = 3,
) -> Uda:
    """Return the objective (model, batch, progress) -> summed loss. A step costs as much as 1 + 2 `ratio` plain ones.

    Args:
        loss: of logits and labels.
        n_outputs: number of labels C.
        tsa: training-signal annealing: a labelled row counts only while its label's probability is at most a threshold that
            rises from 1 / C to 1; exp lets go last, for few labels, log first, for many; none counts all.
        weight: of the consistency loss.
        temperature: sharpens the prediction of the original: the lower, the surer.
        confidence: originals whose largest probability is below do not count.
        ratio: unlabelled rows per labelled row.
    """
    return Uda(loss, n_outputs, tsa, weight, temperature, confidence, ratio)


def threshold(tsa: str, progress: float, *, n_outputs: int) -> float:
    """Return the probability from 1 / C to 1 above which a labelled row does not count.

    >>> [round(threshold(name, 0.5, n_outputs=2), 3) for name in ("log", "linear", "exp")]
    [0.959, 0.75, 0.541]
    """
    share = {"linear": progress, "log": 1 - math.exp(-SCALE * progress), "exp": math.exp(SCALE * (progress - 1))}[tsa]
    return share * (1 - 1 / n_outputs) + 1 / n_outputs


def inconsistency(
    originals: torch.Tensor, variants: torch.Tensor, *, temperature: float, confidence: float
) -> torch.Tensor:
    """Return KL(sharpened prediction of the original || that of the variant), float32 (U,), 0 where not confident.

    Both are logits (U, C); no gradient reaches the originals. `confidence` is compared with probabilities before sharpening.
    """
    originals = originals.detach().float()
    targets = (originals / temperature).log_softmax(dim=-1)
    differences = (targets.exp() * (targets - variants.float().log_softmax(dim=-1))).sum(dim=-1)  # (U,)
    return differences.masked_fill(originals.softmax(dim=-1).amax(dim=-1) < confidence, 0.0)
