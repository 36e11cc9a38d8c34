"""Edits of params.yaml as a command line has them: `encoders.bert.loss=focal`, the value in YAML."""

from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors.exceptions import ParamsError
from pipeline.params.yaml_source import dotted, plain


class Edit(NamedTuple):
    """A key of params.yaml and the value that it is to have."""

    text: str
    location: tuple[str, ...]
    value: Any

    def apply(self, values: Any) -> None:
        """Set the value in the plain values of a params file; on the way a component's name makes room for its options.

        Raises:
            ParamsError: if something on the way holds no keys.
        """
        for depth, part in enumerate(self.location):
            key: Any = int(part) if isinstance(values, list) and part.isdecimal() else part
            if not isinstance(values, dict) and not (isinstance(values, list) and key in range(len(values))):
                where = dotted(self.location[:depth])
                raise ParamsError(f"{self.text}: {where} has no key {part!r}, got {values!r}. Correct the key.")
            if depth == len(self.location) - 1:
                values[key] = self.value
                return
            inner = values[key] if isinstance(values, list) else values.setdefault(key, {})
            values[key] = {"name": inner} if isinstance(inner, str) else {} if inner is None else inner
            values = values[key]


def parse_edit(text: str) -> Edit:
    """Read an edit.

    >>> parse_edit("encoders.bert.loss={name: focal, gamma: 1}")[1:]
    (('encoders', 'bert', 'loss'), {'name': 'focal', 'gamma': 1})

    Raises:
        ParamsError: if it is no key, equals sign and YAML value.
    """
    key, equals, value = text.partition("=")
    location = tuple(part.strip() for part in key.split("."))
    if not equals or not all(location):
        raise ParamsError(
            f"edit: must be a key and its value, such as encoders.bert.loss=focal, got {text!r}. Correct it."
        )
    try:
        return Edit(text.strip(), location, plain(YAML(typ="rt").load(value)))
    except (YAMLError, ValueError) as error:
        raise ParamsError(f"edit: must have a value in YAML, got {text!r}. Put it in quotes.") from error
