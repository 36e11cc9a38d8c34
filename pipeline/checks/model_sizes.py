"""How large an encoder is, from its checkpoint's header or from its settings: nothing is built, torch is not imported."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.errors.exceptions import MachineError
from pipeline.model_sources import checkpoint_folder
from pipeline.text.vector_files import vector_size

if TYPE_CHECKING:
    from pipeline.params.fields import Component

WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
UNKNOWN_WIDTH = 1024


def n_parameters(source: "Component", *, max_length: int) -> int | None:
    """Return about how many parameters an encoder has; None where nothing on this machine says so.

    Raises:
        MachineError: if a checkpoint's weights cannot be read.
    """
    if source.name == "pretrained":
        folder = checkpoint_folder(**source.options)
        return None if folder is None else _stored_parameters(folder)
    options = {**components.defaults(source.kind, source.name), **source.options}
    if source.name == "from_config":
        return _configured_parameters(options, max_length)
    if source.name == "word_vectors":
        size = options["vector_size"] if options["path"] is None else vector_size(Path(options["path"]))
        width = options["hidden_size"]
        # Of a bilstm, the larger of the two: four gates over the input and the state, both ways.
        layers = 0 if options["layer"] == "none" else options["n_layers"] * 6 * width**2
        return int(options["max_words"] * size + size * width + layers)
    return None


def state_width(source: "Component") -> int:
    """Return the width of an encoder's states; a large one where nothing on this machine says so."""
    found: dict[str, Any] = {**components.defaults(source.kind, source.name), **source.options}
    folder = checkpoint_folder(**source.options) if source.name == "pretrained" else None
    if folder is not None:
        found |= json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return next((found[name] for name in WIDTHS if isinstance(found.get(name), int)), UNKNOWN_WIDTH)


def _stored_parameters(folder: Path) -> int | None:
    """Return how many numbers a checkpoint's safetensors hold, by their headers."""
    from safetensors import SafetensorError, safe_open

    whole = folder / "model.safetensors"
    n_found = 0
    for path in [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as tensors:
                n_found += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise MachineError(
                f"{path}: must hold weights, got a damaged file ({error}). Put the model there again.", code="E402"
            ) from error
    return n_found or None


def _configured_parameters(options: dict[str, Any], max_length: int) -> int:
    """Return the parameters of a BERT of these settings; most families differ little from it.

    >>> bert = {"vocab_size": 30522, "hidden_size": 768, "n_layers": 12, "config": {"max_position_embeddings": 512}}
    >>> _configured_parameters(bert, 128)  # the library counts 109 million
    108888576
    """
    config = options["config"] or {}
    vocab_size = config.get("vocab_size", options["vocab_size"])
    width = config.get("hidden_size", options["hidden_size"])
    n_layers = config.get("num_hidden_layers", options["n_layers"])
    inner_width = config.get("intermediate_size", 4 * width)
    n_positions = config.get("max_position_embeddings") or max_length
    return int((vocab_size + n_positions) * width + n_layers * (4 * width**2 + 2 * width * inner_width + 13 * width))
