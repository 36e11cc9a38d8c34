"""The sections `stack` and `submit` of params.yaml."""

from typing import Annotated

from pydantic import Field

from pipeline.params.fields import Section, component


class Stack(Section):
    """How out-of-fold predictions become one ensemble."""

    members: list[str] | None = None
    """Encoders, stitched models and baselines to stack; None takes all of them in the order of params.yaml."""
    ladder: list[component("stackers")] = Field(  # type: ignore[valid-type]
        default=["mean", "rank_mean", "greedy", "logistic", "lightgbm"], min_length=1
    )
    """Ensembles to try, simplest first."""
    tune_decision: bool = True
    """Tune thresholds or class scales, cross-fitted; used only where they gain more than one standard error."""
    n_bootstrap: Annotated[int, Field(ge=50)] = 1000


class Submit(Section):
    """What is submitted."""

    model: str = "ensemble"
    """`ensemble`, or the name of one member."""
