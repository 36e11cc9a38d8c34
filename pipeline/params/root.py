"""The whole of params.yaml, its sections `stack`, `submit` and `run`, and its JSON Schema for editors."""

import warnings
from collections.abc import Collection
from functools import cached_property
from math import comb
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.params.augment import Augment
from pipeline.params.encoders import Encoder, Training
from pipeline.params.fields import PositiveFloat, PositiveInt, Section, component
from pipeline.params.stitch import Best, Stitch
from pipeline.params.tasks import Folds, Task


class Stack(Section):
    """How out-of-fold predictions become one ensemble."""

    members: list[str] | None = None
    """Encoders, stitched models and baselines to stack; None takes all of them in the order of params.yaml."""
    ladder: list[component("stackers")] = Field(  # type: ignore[valid-type]
        default=["mean", "median", "rank_mean", "greedy", "ridge", "logistic", "lightgbm"], min_length=1
    )
    """Ensembles to try, simplest first; by default those of them that fit the tasks' targets."""
    tune_decision: bool = True
    """Tune thresholds or class scales, or clip numbers, cross-fitted; used only where that gains, for accuracy, thresholds
    and numbers more than a standard error."""
    n_bootstrap: Annotated[int, Field(ge=50)] = 1000


class Submit(Section):
    """What is submitted."""

    model: str = "ensemble"
    """`ensemble`, or the name of one member."""
    kaggle: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    """Where `stitchfold submit` uploads to: the competition's name in its address, kaggle.com/competitions/<name>."""


class Run(Section):
    """Where the work runs: nobody's dependency, it never changes what comes out; but `budget_hours` may cut it short."""

    backend: component("backends") = "loky"  # type: ignore[valid-type]
    n_workers: PositiveInt | None = None
    """None: one worker per GPU, or per `threads_per_worker` cores."""
    threads_per_worker: PositiveInt = 1
    """CPU threads of each worker; part of the numerics class."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_retries: Annotated[int, Field(ge=0)] = 2
    """How often a unit whose worker died is tried again, by itself."""
    hang_seconds: PositiveFloat | None = 1800.0
    """A unit that takes no step for so long, and for 50 times its usual step, is ended and tried again; null: never.
    Before its first step so is one that takes no CPU time."""
    lock: Literal["flock", "o_excl"] = "flock"
    """How a unit has one writer; `o_excl` where the filesystem has no flock."""
    strict: bool = False
    """Refuse to compute anew what was computed with other threads, instructions, devices or versions, instead of warning."""
    budget_hours: PositiveFloat | None = None
    """End about so many hours after `dvc repro` began, with a valid submission: encoders, then stitched pairs, for which
    there is no time are left out, and what they have done is kept. Null: no limit. See docs/budgets.md."""


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
    run: Run = Field(default_factory=Run)

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

    @property
    def submitted(self) -> dict[str, Task]:
        """The tasks that have a submission; the others are auxiliary."""
        return {name: task for name, task in self.tasks.items() if task.submit}

    @property
    def test_files(self) -> list[str]:
        """Names of the test files, which have a submission each; that of one that params do not name is empty."""
        return list(next(iter(self.submitted.values())).tests)

    def without(self, left_out: Collection[str]) -> "Params":
        """Return what is left without some encoders and stitched pairs: no pair of such an encoder, none as a member."""
        if not left_out:
            return self
        encoders = {name: encoder for name, encoder in self.encoders.items() if name not in left_out}
        groups = self.stitch.groups(list(self.encoders))
        kept = [group for name, group in groups.items() if name not in left_out and set(group or ()) <= set(encoders)]
        pairs: Best | list[Any] = [group for group in kept if group]
        if n_best := min(kept.count(None), comb(len(encoders), 2)):
            pairs = Best(best=n_best)
        # Not `model_copy`: it reads all keys, of which a stage declares some, and copies what was derived from them.
        values = {name: vars(self)[name] for name in type(self).model_fields}
        values |= {"encoders": encoders, "stitch": Stitch.model_construct(**{**vars(self.stitch), "pairs": pairs})}
        members, known = vars(self.stack)["members"], Params.model_construct(**values).stages
        members = [name for name in members or () if name in known] or None
        values["stack"] = Stack.model_construct(**{**vars(self.stack), "members": members})
        return Params.model_construct(**values)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of params.yaml, for editors."""
    with warnings.catch_warnings(action="ignore"):  # pydantic wonders at components named by a plain string
        schema = Params.model_json_schema()
    schema["$defs"]["Encoder"]["required"] = ["source"]
    return _component_schemas(schema)


def _component_schemas(node: Any) -> Any:
    """Replace the internal form of a component (`kind`, `name`, `options`) by the form users write."""
    if isinstance(node, dict):
        if node.keys() == {"kind", "name", "options"}:
            return node["name"]
        if "component" in node:
            return {key: node[key] for key in ("anyOf", "default", "description") if key in node}
        return {key: _component_schemas(value) for key, value in node.items() if key != "Component"}
    return [_component_schemas(value) for value in node] if isinstance(node, list) else node
