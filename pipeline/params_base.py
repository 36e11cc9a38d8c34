"""What every section of params.yaml is made of: strict sections, components by name, and the settings of a training."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from pipeline import components
from pipeline.params_yaml import expected, shown

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
        wrong, kind_of_error = [], "option"
        for key, option in options.items():
            if key not in known:
                wrong.append(f"{name} does not take this option: {expected(key, known)}")
                continue
            try:
                TypeAdapter(known[key]).validate_python(option, strict=True)
            except ValidationError as error:
                wrong.append(f"{key}: {error.errors()[0]['msg'].lower()}, got {shown(option)}. Correct it.")
                kind_of_error = "component"
        if wrong:
            raise PydanticCustomError(kind_of_error, "{text}", {"text": " ".join(wrong)})
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
    out_of_memory: Literal["adapt", "fail"] = "adapt"
    """`adapt` halves the micro-batch, same rows and steps; `fail` stops."""
    not_finite: Literal["stop", "rollback"] = "stop"
    """A loss or gradient that is no number: `rollback` goes back to the epoch's start at half the rate, at most twice."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Time between checkpoints. Changes nothing that comes out."""
