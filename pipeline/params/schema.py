"""The JSON Schema of params.yaml, for editors."""

import warnings
from typing import Any

from pipeline.params.root import Params


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
        if node.keys() == {"kind", "name", "options"}:
            return node["name"]
        if "component" in node:
            return {key: node[key] for key in ("anyOf", "default", "description") if key in node}
        return {key: _component_schemas(value) for key, value in node.items() if key != "Component"}
    return [_component_schemas(value) for value in node] if isinstance(node, list) else node
