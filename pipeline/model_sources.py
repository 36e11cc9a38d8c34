"""Where an option `model` of an augmenter points to: a folder in models/, or a checkpoint of the hub at a pinned commit."""

import re
from pathlib import Path

from pipeline.exceptions import ParamsError

HUB = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)@(?P<commit>[0-9a-f]{40})", re.ASCII)
REMEDY = (
    "Give a folder in models/ with config.json, the tokenizer and model.safetensors, or owner/name@<40-hex commit>."
)


def locate(model: str) -> tuple[str, str | None]:
    """Return what `from_pretrained` takes: a folder and None, or a name on the hub and the commit as its `revision`.

    >>> locate("hfl/chinese-roberta-wwm-ext@" + "5c58d0b8ec1d9014354d691c538661bf00bfdb44")
    ('hfl/chinese-roberta-wwm-ext', '5c58d0b8ec1d9014354d691c538661bf00bfdb44')

    Raises:
        ParamsError: if it is empty, no folder with a model in safetensors, or a name without its commit.
    """
    if not model.strip():
        raise ParamsError(f"model: must name a model, got {model!r}. {REMEDY}")
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ParamsError(f"model: {model} must hold config.json, got none. {REMEDY}")
        if not any(folder.glob("*.safetensors")):
            raise ParamsError(
                f"model: {model} must hold model.safetensors, got none: other weights are never read. {REMEDY}"
            )
        return model, None
    hub = HUB.fullmatch(model)
    if hub is not None:
        return hub["name"], hub["commit"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@.*)?", model, re.ASCII) and folder.parts[0] != "models":
        name = model.partition("@")[0]
        raise ParamsError(f"model: a branch can move: must be {name}@<40-hex commit>, got {model}. Pin the commit.")
    raise ParamsError(f"model: no such folder: {model}. {REMEDY}")
