"""LSTMs that read forwards and backwards, each by itself, over sub-words: ELMo's language model, new or pre-trained here.

Source: see `language_lstm`. Mixed over its layers (`pooling: layer_mix`), as in the paper's eq. 1, its states serve a task.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_checkpoint, misplaced
from pipeline.models.encoders.from_config import train_tokenizer
from pipeline.params.problems import Problem
from pipeline.ranges import Name, PositiveInt, Ratio

MODELS = ("path",)
BEGINS_AT = "path"  # the option by which it begins at what was pre-trained
LANGUAGE_MODELS = "in two directions"  # which pretexts can train it: those with the same constant


def build(
    *,
    texts: Sequence[str],
    max_length: int,
    seed: int,
    path: Name | None = None,
    tokenizer: Literal["bpe", "byte_bpe"] = "bpe",
    vocab_size: PositiveInt = 8000,
    hidden_size: PositiveInt = 256,
    n_layers: PositiveInt = 2,
    cell_size: PositiveInt | None = None,
    dropout: Ratio = 0.1,
) -> EncoderParts:
    """Build a model with random weights, a function of the seed, and train its tokenizer on the texts.

    Args:
        texts: the training texts of the fold.
        max_length: tokens per text, any number.
        seed: of the initial weights.
        path: a folder with such a model, as pre-training leaves it, in the place of all that follows.
        tokenizer: as for encoders from a configuration: bpe over lower-cased words, or byte_bpe.
        vocab_size: at most so many tokens.
        hidden_size: width of the states, half of which belongs to each direction.
        n_layers: number of layers.
        cell_size: width of an LSTM's cell, projected to its half of the states; None: as wide as that half.
        dropout: after the token vectors and each layer.

    Raises:
        ParamsError: if the folder holds no such model.
    """
    import torch

    from pipeline.models.language_lstm import BidirectionalLstm, BidirectionalLstmConfig, checked, register

    register()
    if path is not None:
        from pipeline.models.hub_checkpoints import load_checkpoint

        parts = load_checkpoint(path, revision=None, max_length=max_length)
        return EncoderParts(checked(parts.model, origin=path), parts.tokenizer)
    trained = train_tokenizer(texts, tokenizer, vocab_size)
    config = BidirectionalLstmConfig(
        vocab_size=len(trained), pad_token_id=trained.pad_token_id, hidden_size=hidden_size, num_hidden_layers=n_layers,
        cell_size=cell_size or hidden_size // 2, dropout=dropout,
    )  # fmt: skip
    torch.manual_seed(seed)
    return EncoderParts(BidirectionalLstm(config), trained)


def origin(*, options: dict[str, Any]) -> tuple[str, str | None] | None:
    """Return the folder of a model to begin with, if there is one, as transformers then loads it in this process."""
    from pipeline.models.language_lstm import register

    register()
    return None if options["path"] is None else (options["path"], None)


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    from transformers import PreTrainedTokenizerFast

    from pipeline.models.language_lstm import BidirectionalLstm, BidirectionalLstmConfig

    model = BidirectionalLstm(BidirectionalLstmConfig.from_pretrained(folder))
    return EncoderParts(model, PreTrainedTokenizerFast.from_pretrained(folder))


def check(*, options: dict[str, Any], max_length: int) -> Iterator[Problem]:
    """Yield why the layers cannot be built, or there is no model in the folder."""
    if options["hidden_size"] % 2:
        odd = f"must be even, as there are two directions, got {options['hidden_size']}. Add one."
        yield Problem(("source", "hidden_size"), odd)
    if (path := options["path"]) is not None:
        try:
            check_checkpoint(Path(path), max_length=max_length)
            text = misplaced(path, "folder")
        except ParamsError as error:
            text = str(error).partition(": ")[2]
        if text:
            yield Problem(("source", "path"), text, "E204")


def n_parameters(*, options: dict[str, Any]) -> int:
    """Return about how many parameters the model has at most.

    >>> n_parameters(options={"path": None, "vocab_size": 100, "hidden_size": 32, "n_layers": 2, "cell_size": None})
    10304
    """
    n_layers, hidden_size = state_shape(options=options)
    width, shape = hidden_size // 2, _shape(options)
    cell = shape["cell_size"] or width
    projection = cell * width if cell != width else 0
    # Four gates over the input and what the cell gave before, with two biases each.
    lstm = 4 * cell * (2 * width + 2) + projection
    return int(shape["vocab_size"] * width + n_layers * 2 * lstm)


def state_shape(*, options: dict[str, Any]) -> tuple[int, int]:
    """Return the number of layers and the width of the states."""
    shape = _shape(options)
    return int(shape.get("num_hidden_layers", options["n_layers"])), int(shape["hidden_size"])


def _shape(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, or where there is a model already its configuration."""
    if options["path"] is None:
        return options
    shape: dict[str, Any] = json.loads((Path(options["path"]) / "config.json").read_text(encoding="utf-8"))
    return shape
