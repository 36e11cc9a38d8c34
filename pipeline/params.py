"""params.yaml as typed objects: every error at once, each with its key path, its line and a remedy.

Read as YAML 1.2, as DVC reads it (`1e-5` is a number, `no` is text, a repeated key is an error). Imports no torch.
"""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipeline import components
from pipeline.exceptions import ParamsError
from pipeline.params_checks import Problem, check_files, check_names, check_together
from pipeline.params_yaml import dotted, expected, line_of, plain, read_yaml

PARAMS_FILE = Path("params.yaml")
Ratio = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of params.yaml: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_default=True, use_attribute_docstrings=True
    )


class Component(Section):
    """A component by name, with the options its `build` takes."""

    kind: str
    name: str
    options: dict[str, Any] = {}

    def build(self, **arguments: Any) -> Any:
        """Build the component from its options and the arguments that the code gives."""
        return components.load(self.kind, self.name)(**arguments, **self.options)


def component(kind: str) -> Any:
    """Return the type of a key that names a component: `linear`, or `{name: linear, dropout: 0.1}`."""

    def parse(value: Any) -> Any:
        if isinstance(value, Component):
            return value
        options = dict(value) if isinstance(value, dict) else {"name": value}
        name = options.pop("name", None)
        if name not in components.available(kind):
            raise PydanticCustomError("component", "{text}", {"text": expected(name, components.available(kind))})
        known = components.options(kind, name)
        wrong = []
        for key, option in options.items():
            if key not in known:
                wrong.append(f"{name} does not take this option: {expected(key, known)}")
                continue
            try:
                TypeAdapter(known[key]).validate_python(option, strict=True)
            except ValidationError as error:
                wrong.append(f"{key}: {error.errors()[0]['msg'].lower()}, got {option!r}")
        if wrong:
            raise PydanticCustomError("component", "{text}", {"text": "; ".join(wrong)})
        return Component(kind=kind, name=name, options=options)

    schema: dict[str, Any] = {
        "anyOf": [
            {"enum": list(components.available(kind))},
            {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"enum": list(components.available(kind))}},
            },
        ]
    }
    return Annotated[Component, BeforeValidator(parse), Field(json_schema_extra={"component": kind, **schema})]


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
    report_metrics: list[component("metrics")] = []  # type: ignore[valid-type]
    """Further metrics to report beside the one that decides."""
    train: str
    test: str
    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None = None
    """The file format; None takes it from the file's name."""
    encoding: str = "utf-8"
    header: bool = True
    quoting: bool = True
    """Whether csv and tsv fields may be quoted."""
    columns: Columns = Columns()
    labels: list[str] | None = Field(default=None, min_length=2)
    """The labels in fixed order; None sorts those of the training file."""
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


class Training(Section):
    """How a model is trained. `training:` holds the defaults, every encoder may override each key."""

    epochs: PositiveInt = 3
    epoch_selection: Literal["last", "inner"] = "last"
    """`last` keeps the last epoch; `inner` the best one on a part of the training rows. Never the scored fold."""
    inner_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    batch_size: PositiveInt = 32
    """Rows per optimizer step, whatever the memory."""
    tokens_per_micro_batch: PositiveInt = 8192
    """Padded tokens per forward pass; halved when memory runs out."""
    learning_rate: PositiveFloat = 5e-5
    head_learning_rate: PositiveFloat | None = None
    """Rate of the pooling and the head; None is ten times `learning_rate`."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer further from the head learns at this share of the rate of the one above it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: PositiveFloat = 1.0
    loss: component("losses") = "cross_entropy"  # type: ignore[valid-type]
    optimizer: component("optimizers") = "adamw"  # type: ignore[valid-type]
    schedule: component("schedules") = "linear"  # type: ignore[valid-type]
    warmup_ratio: Ratio = 0.1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` is bf16 on a GPU that has it, fp32 elsewhere."""
    gradient_checkpointing: bool = False
    checkpoint_seconds: PositiveFloat = 60.0
    """Time between checkpoints. Changes nothing that comes out."""


class Encoder(Training):
    """One encoder: where it comes from, how its states become logits; any key of `training` overrides it."""

    source: component("encoders")  # type: ignore[valid-type]
    pooling: component("poolings") | None = None  # type: ignore[valid-type]
    """How token states become one vector, for heads that read a vector; mean unless told."""
    head: component("heads") = "linear"  # type: ignore[valid-type]
    max_length: Annotated[int, Field(ge=4)] = 128
    """Tokens per text or pair, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] = "head"

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
    """Encoders and baselines to stack; None takes all of them in the order of params.yaml."""
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
    """How often a unit whose worker died is tried again."""


class Params(Section):
    """The whole of params.yaml. DVC tracks each section but `run`, so each must be there, if only as `{}`."""

    competition: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    seed: int
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    folds: Folds
    training: Training
    encoders: Annotated[dict[str, Encoder], Field(min_length=1)]
    baselines: dict[str, component("baselines")]  # type: ignore[valid-type]
    stack: Stack
    submit: Submit
    run: Run = Run()

    @cached_property
    def members(self) -> list[str]:
        """Names of the models that are stacked, in their fixed order."""
        return self.stack.members if self.stack.members is not None else [*self.encoders, *self.baselines]


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
        for item in error.errors(include_url=False):
            location = tuple(part for part in item["loc"] if not str(part).startswith("function-"))
            inherited = location[0] == "encoders" and len(location) > 2 and location[2] not in own[str(location[1])]
            if not inherited or item["type"] == "missing":  # what is inherited was reported under training
                problems.append((location, _problem(dict(item), location)))
    problems += [*check_names(values), *check_files(values), *(check_together(params) if params else ())]
    if params is None or problems:
        lines = [f"{path}:{line_of(raw, location)} {dotted(location)}: {text}" for location, text in problems]
        raise ParamsError("\n".join(dict.fromkeys(lines)))
    return params


def _inherit_training(values: dict[str, Any]) -> dict[str, set[str]]:
    """Give every encoder the keys of `training` that it does not set; return the keys that each one sets itself."""
    training, encoders = values.get("training"), values.get("encoders")
    if not isinstance(encoders, dict):
        return {}
    known = {key: value for key, value in (training or {}).items() if key in Training.model_fields}
    values["encoders"] = {name: {**known, **own} if isinstance(own, dict) else own for name, own in encoders.items()}
    return {str(name): set(own) if isinstance(own, dict) else set() for name, own in encoders.items()}


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


def _problem(item: dict[str, Any], location: tuple[Any, ...]) -> str:
    if item["type"] == "extra_forbidden":
        return f"is not a known key: {expected(location[-1], _fields_at(location[:-1]))}"
    if item["type"] == "missing":
        remedy = ", if only as `{}`: DVC tracks every section but `run`" if len(location) == 1 else ""
        return f"is missing. Add it{remedy}."
    if item["type"] in ("component", "contradiction"):
        return str(item["msg"])
    got = "" if isinstance(item["input"], dict) else f", got {item['input']!r}"
    return f"{item['msg'][0].lower()}{item['msg'][1:]}{got}."


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that a section takes, found by walking the models down the location."""
    current: Any = Params
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        elif get_args(current):
            current = get_args(current)[-1]
        if get_args(current) and isinstance(get_args(current)[0], type) and issubclass(get_args(current)[0], BaseModel):
            current = get_args(current)[0]
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []
