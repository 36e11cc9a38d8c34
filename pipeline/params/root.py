"""The whole of params.yaml."""

from functools import cached_property
from typing import Annotated

from pydantic import Field

from pipeline.params.augment import Augment as Augment
from pipeline.params.encoders import Encoder, Training
from pipeline.params.ensemble import Stack, Submit
from pipeline.params.fields import Section, component
from pipeline.params.run import Run
from pipeline.params.stitch import Stitch
from pipeline.params.tasks import Folds, Task


class Params(Section):
    """The whole of params.yaml. DVC tracks each section but `run`, so each must be there, if only as `{}`."""

    competition: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    seed: int
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    folds: Folds
    augment: Augment
    training: Training
    encoders: Annotated[dict[str, Encoder], Field(min_length=1)]
    stitch: Stitch
    baselines: dict[str, component("baselines")]  # type: ignore[valid-type]
    stack: Stack
    submit: Submit
    run: Run = Run()

    @cached_property
    def stages(self) -> dict[str, str]:
        """The stage that makes each model, by the model's name, in their fixed order."""
        stitched = self.stitch.models(list(self.encoders))
        made = {"finetune": list(self.encoders), "stitch": list(stitched), "baseline": list(self.baselines)}
        return {name: stage for stage, names in made.items() for name in names}

    @cached_property
    def members(self) -> list[str]:
        """Names of the models that are stacked, in their fixed order."""
        return self.stack.members if self.stack.members is not None else list(self.stages)
