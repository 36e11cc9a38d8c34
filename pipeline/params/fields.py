"""What every section of params.yaml is made of: strict sections, components by name, and the settings of a training."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from pipeline import components
from pipeline.errors.exceptions import expected
from pipeline.ranges import PositiveFloat as PositiveFloat
from pipeline.ranges import PositiveInt as PositiveInt
from pipeline.ranges import Ratio as Ratio


class Section(BaseModel):
    """A section of params.yaml: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class Component(Section):
    """A component by name, with the options its `build` takes."""

    kind: str
    name: str
    options: dict[str, Any] = {}

    def parts(self) -> "Iterator[Component]":
        """Yield the component itself and those that its options name."""
        yield self
        for option in self.constant("COMPONENTS") or ():
            value = self.options[option]
            for part in value if isinstance(value, list) else [value]:
                yield from part.parts()

    def constant(self, name: str) -> Any:
        """Return the value of a constant of the component's file, such as a head's `READS`, or None."""
        return components.constant(self.kind, self.name, name)

    def by_option(self, name: str) -> Any:
        """Return such a constant or, where it is a dict, what stands there under the value of an option, set or default."""
        value = self.constant(name)
        if not isinstance(value, dict):
            return value
        options = {**components.defaults(self.kind, self.name), **self.options}.values()
        return next((value[option] for option in options if isinstance(option, str) and option in value), None)

    def build(self, **offered: Any) -> Any:
        """Build the component from its options and, of what the code offers, the arguments that it names."""
        return components.build(self.kind, self.name, self.options, **offered)

    def call(self, function: str, **offered: Any) -> Any:
        """Call another function of the component's file with, if it names them, all its `options`, set or default."""
        options = {**components.defaults(self.kind, self.name), **self.options}
        return components.call(self.kind, self.name, function, options=options, **offered)


def component(kind: str) -> Any:
    """Return the type of a key that names a component: `linear`, or `{name: linear, dropout: 0.1}`."""

    def parse(value: Any) -> Any:
        if isinstance(value, Component):
            return value
        options = dict(value) if isinstance(value, dict) else {"name": value}
        name = options.pop("name", None)
        if name not in components.available(kind):
            raise PydanticCustomError("component", "{text}", {"text": expected(name, components.available(kind))})
        if wrong := list(components.wrong_options(kind, name, options)):
            kind_of_error = "component" if any(is_known for is_known, _ in wrong) else "option"
            text = " ".join(dict.fromkeys(text for _, text in wrong))
            raise PydanticCustomError(kind_of_error, "{text}", {"text": text})
        # Defaults too: recipes must know of what is used.
        for option, inner_kind in (components.constant(kind, name, "COMPONENTS") or {}).items():
            options[option] = _nested(option, {**components.defaults(kind, name), **options}[option], inner_kind)
        return Component(kind=kind, name=name, options=options)

    names = {"enum": list(components.available(kind))}
    forms: list[Any] = [names, {"type": "object", "required": ["name"], "properties": {"name": names}}]
    return Annotated[Component, BeforeValidator(parse), Field(json_schema_extra={"component": kind, "anyOf": forms})]


def _nested(option: str, value: Any, kind: str) -> Any:
    """Return the component, or the list of components, that an option names."""
    if isinstance(value, list):
        return [_nested(option, part, kind) for part in value]
    try:
        return TypeAdapter(component(kind)).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise PydanticCustomError(first["type"], "{text}", {"text": f"{option}: {first['msg']}"}) from error
