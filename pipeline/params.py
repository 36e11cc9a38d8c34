"""params.yaml as typed objects: every error at once, each with its key path, its line and a remedy.

Read as YAML 1.2, as DVC reads it (`1e-5` is a number, `no` is text, a repeated key is an error). Imports no torch.
"""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipeline import components
from pipeline.declared_inputs import watched
from pipeline.exceptions import ParamsError
from pipeline.params_augment import Augment as Augment
from pipeline.params_base import Component as Component
from pipeline.params_base import PositiveFloat, PositiveInt, Ratio, Section, Training, component
from pipeline.params_checks import Problem, check_files, check_names, check_together
from pipeline.params_problems import by_location, problem
from pipeline.params_stitch import Stitch
from pipeline.params_yaml import dotted, line_of, plain, read_yaml

PARAMS_FILE = Path("params.yaml")


class Columns(Section):
    """Which column holds what: by name, or by position (from 0) in files without a header."""

    id: str | int | None = None
    """Row ids; None numbers the rows of each file from 0."""
    text: str | int | list[str | int] = "text"
    """The text; several columns are joined by a blank."""
    text_pair: str | int | None = None
    """The second text of a pair."""
    label: str | int = "label"
    group: str | int | None = None
    """Rows that share a value share a fold."""


class Submission(Section):
    """The file that the competition accepts."""

    format: component("formats") = "kaggle_csv"  # type: ignore[valid-type]
    sample: str | None = None
    """The organiser's sample submission: ids, order and columns are taken from it."""


class Task(Section):
    """One task: its files, its columns and how it is scored."""

    kind: Literal["binary", "multiclass"]
    metric: component("metrics")  # type: ignore[valid-type]
    report_metrics: list[component("metrics")] = Field(default=[])  # type: ignore[valid-type]
    """Further metrics to report beside the one that decides."""
    train: str
    test: str
    unlabelled: str | None = None
    """More texts of the same form without labels, for objectives that learn from them."""
    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None = None
    """The file format; None takes it from the file's name."""
    encoding: str = "utf-8"
    header: bool = True
    quoting: bool = True
    """Whether csv and tsv fields may be quoted."""
    columns: Columns = Columns()
    labels: list[str] | None = Field(default=None, min_length=2)
    """The labels in fixed order; None sorts those of the training file."""
    rename_labels: dict[str, str] = Field(default={})
    """Spellings of the training file -> the label that is meant, such as `{"pos ": pos, Pos: pos}`."""
    missing_labels: Literal["fail", "drop", "unlabelled"] = "fail"
    """Training rows with an empty label: an error, left out, or kept as texts without a label."""
    submission: Submission = Submission()


class Folds(Section):
    """How training rows are split. Rows that share a group or are near-duplicates always share a fold."""

    n_splits: Annotated[int, Field(ge=2)] = 5
    n_repeats: PositiveInt = 1
    stratify: bool = True
    group_pairs: bool = False
    """For pairs of texts: rows that share a sentence share a fold."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None
    """Jaccard similarity of character shingles from which texts are near-duplicates; None looks for exact ones only."""
    holdout_ratio: Ratio = 0.0
    """Share of the training rows that no model and no choice ever sees: an untouched check of the estimate."""


class Encoder(Training):
    """One encoder: where it comes from, how its states become logits; any key of `training` overrides it."""

    source: component("encoders")  # type: ignore[valid-type]
    pooling: component("poolings") | None = None  # type: ignore[valid-type]
    """How token states become one vector, for heads that read a vector; mean unless told."""
    head: component("heads") = "linear"  # type: ignore[valid-type]
    max_length: Annotated[int, Field(ge=4)] = 128
    """Tokens per text or pair, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] = "head"
    augment: bool = True
    """Whether it learns from the copies that `augment` makes."""
    objective: component("objectives") = "supervised"  # type: ignore[valid-type]
    """What training minimises: the plain loss, or one that augments while training."""

    @model_validator(mode="before")
    @classmethod
    def _vector_heads_pool_by_mean(cls, data: Any) -> Any:
        head = data.get("head", "linear") if isinstance(data, dict) else None
        name = head.get("name") if isinstance(head, dict) else head
        if name in components.available("heads") and components.constant("heads", name, "READS") == "vector":
            data = {**data, "pooling": data.get("pooling") or "mean"}
        return data

    @model_validator(mode="after")
    def _head_and_pooling_agree(self) -> "Encoder":
        if self.pooling is not None and components.constant("heads", self.head.name, "READS") == "tokens":
            raise PydanticCustomError(
                "contradiction",
                "pooling: head {head} reads token states and takes no pooling. Remove it, or choose head linear or mlp",
                {"head": self.head.name},
            )
        return self


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


class Run(Section):
    """Where the work runs: nobody's dependency, it never changes what comes out."""

    backend: Literal["loky", "sequential"] = "loky"
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


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: with every problem found, one a line: `file:line key.path: problem`.
    """
    raw = read_yaml(path, sections=list(Params.model_fields))
    values = plain(raw)
    own = _inherit_training(values)
    problems: list[Problem] = []
    params = None
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        for location, items in by_location(error, values).items():
            # What is inherited was reported under training.
            depth = {"encoders": 2, "stitch": 1}.get(str(location[0]), len(location)) if location else 0
            inherited = len(location) > depth and location[depth] not in own.get(location[:depth], {location[depth]})
            if not inherited or items[0]["type"] == "missing":
                problems.append(problem(items, location, root=Params))
    problems += [*check_names(values), *check_files(values), *(check_together(params) if params else ())]
    if params is None or problems:
        lines = [f"{path}:{line_of(raw, one.location)} {dotted(one.location)}: {one.text}" for one in problems]
        codes = {one.code for one in problems}
        raise ParamsError("\n".join(dict.fromkeys(lines)), code=codes.pop() if len(codes) == 1 else "E200")
    return watched(params)


def _inherit_training(values: dict[str, Any]) -> dict[tuple[Any, ...], set[str]]:
    """Give every encoder and `stitch` the keys of `training` that they do not set; return those that each sets itself."""
    training = values["training"] if isinstance(values.get("training"), dict) else {}
    known = {key: value for key, value in training.items() if key in Training.model_fields}
    encoders = values["encoders"] if isinstance(values.get("encoders"), dict) else {}
    sections: dict[tuple[Any, ...], Any] = {("encoders", name): section for name, section in encoders.items()}
    sections["stitch",] = values.get("stitch")
    sections = {place: section for place, section in sections.items() if isinstance(section, dict)}
    own = {place: set(section) for place, section in sections.items()}
    for section in sections.values():
        section.update({**known, **section})
    return own


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of params.yaml, for editors."""
    with warnings.catch_warnings(action="ignore"):  # pydantic wonders at components named by a plain string
        schema = Params.model_json_schema()
    encoder = schema["$defs"]["Encoder"]
    encoder["required"] = ["source"]
    return _component_schemas(schema)


def _component_schemas(node: Any) -> Any:
    """Replace the internal form of a component (`kind`, `name`, `options`) by the form users write."""
    if isinstance(node, dict):
        if "component" in node:
            return {key: node[key] for key in ("anyOf", "default", "description") if key in node}
        return {key: _component_schemas(value) for key, value in node.items() if key != "Component"}
    return [_component_schemas(value) for value in node] if isinstance(node, list) else node
