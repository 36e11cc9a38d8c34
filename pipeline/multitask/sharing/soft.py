"""Soft parameter sharing: an encoder for each task, held together by the distance of their weights from their mean.

Source: Duong et al., Low Resource Dependency Parsing, 2015, section 3, https://aclanthology.org/P15-2139/
Differs from the paper: several tasks, so the distance is from the mean of all; all learn at the same time.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field

ENCODERS = "each"


def build(
    *, weight: Annotated[float, Field(ge=0)] = 1e-3
) -> Callable[[Mapping[str, Any], Mapping[str, int]], torch.Tensor]:
    """Return the penalty: `weight` times the squared distance of all encoders from their mean, for each row."""

    def penalty(classifiers: Mapping[str, Any], n_rows: Mapping[str, int]) -> torch.Tensor:
        encoders = [list(classifier.backbone.parameters()) for classifier in classifiers.values()]
        distance = torch.stack([_distance(torch.stack(weights)) for weights in zip(*encoders, strict=True)]).sum()
        return weight * distance * sum(n_rows.values())

    return penalty


def _distance(weights: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of tensors (tasks, ...) from their mean."""
    return ((weights - weights.mean(dim=0)) ** 2).sum()
