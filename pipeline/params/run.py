"""The section `run` of params.yaml: where the work runs."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.fields import PositiveFloat, PositiveInt, Section, component


class Run(Section):
    """Where the work runs: nobody's dependency, it never changes what comes out."""

    backend: component("backends") = "loky"  # type: ignore[valid-type]
    n_workers: PositiveInt | None = None
    """None: one worker per GPU, or per `threads_per_worker` cores."""
    threads_per_worker: PositiveInt = 1
    """CPU threads of each worker; part of the numerics class."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_retries: Annotated[int, Field(ge=0)] = 2
    """How often a unit whose worker died is tried again, by itself."""
    hang_seconds: PositiveFloat | None = 1800.0
    """A unit that takes no step for so long, and for 50 times its usual step, is ended and tried again; null: never."""
    lock: Literal["flock", "o_excl"] = "flock"
    """How a unit has one writer; `o_excl` where the filesystem has no flock."""
    strict: bool = False
    """Refuse to compute anew what was computed with other threads, devices or library versions, instead of warning."""
