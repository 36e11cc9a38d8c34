"""LSTMs that read forwards and backwards, each by itself, over sub-words: ELMo's language model, with random weights.

Source: see `language_lstm`. Mixed over its layers (`pooling: layer_mix`), as in the paper's eq. 1, its states serve a task.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.contracts import EncoderParts
from pipeline.models.encoders.from_config import train_tokenizer
from pipeline.params.problems import Problem
from pipeline.ranges import PositiveInt, Ratio


def build(
    *,
    texts: Sequence[str],
    seed: int,
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
        seed: of the initial weights.
        tokenizer: as for encoders from a configuration: bpe over lower-cased words, or byte_bpe.
        vocab_size: at most so many tokens.
        hidden_size: width of the states, half of which belongs to each direction.
        n_layers: number of layers.
        cell_size: width of an LSTM's cell, projected to its half of the states; None: as wide as that half.
        dropout: after the token vectors and each layer.
    """
    import torch

    from pipeline.models.language_lstm import BidirectionalLstm, BidirectionalLstmConfig

    trained = train_tokenizer(texts, tokenizer, vocab_size)
    config = BidirectionalLstmConfig(
        vocab_size=len(trained), pad_token_id=trained.pad_token_id, hidden_size=hidden_size, num_hidden_layers=n_layers,
        cell_size=cell_size or hidden_size // 2, dropout=dropout,
    )  # fmt: skip
    torch.manual_seed(seed)
    return EncoderParts(BidirectionalLstm(config), trained)


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    from transformers import PreTrainedTokenizerFast

    from pipeline.models.language_lstm import BidirectionalLstm, BidirectionalLstmConfig

    model = BidirectionalLstm(BidirectionalLstmConfig.from_pretrained(folder))
    return EncoderParts(model, PreTrainedTokenizerFast.from_pretrained(folder))


def check(*, options: dict[str, Any]) -> Iterator[Problem]:
    """Yield why the layers cannot be built."""
    if options["hidden_size"] % 2:
        odd = f"must be even, as there are two directions, got {options['hidden_size']}. Add one."
        yield Problem(("source", "hidden_size"), odd)


def n_parameters(*, options: dict[str, Any]) -> int:
    """Return about how many parameters the model has at most.

    >>> n_parameters(options={"vocab_size": 100, "hidden_size": 32, "n_layers": 2, "cell_size": None})
    10304
    """
    width = options["hidden_size"] // 2
    cell = options["cell_size"] or width
    projection = cell * width if cell != width else 0
    # Four gates over the input and what the cell gave before, with two biases each.
    lstm = 4 * cell * (2 * width + 2) + projection
    return int(options["vocab_size"] * width + options["n_layers"] * 2 * lstm)


def state_shape(*, options: dict[str, Any]) -> tuple[int, int]:
    """Return the number of layers and the width of the states."""
    return int(options["n_layers"]), int(options["hidden_size"])
