"""A language model of transformers as a pre-training begins with it, with logits only where they are asked for."""

import inspect
import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_length
from pipeline.models.hub_checkpoints import check_vocabulary, from_pretrained, load_weights
from pipeline.params.fields import Component
from pipeline.pretrain.pretext import Start
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast
log = logging.getLogger(__name__)


class LanguageModel(nn.Module):
    """A model with a language model's head, of whose logits only some are computed.

    A hook takes the states at those places before they reach the head, so it goes for every family whose model is a head
    over its `base_model`: of 15 % of the tokens, five sixths of the largest matrix product are spared.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        self.model = model
        self.accepted = frozenset(inspect.signature(model.forward).parameters)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits (M, V) at `places` (M,), numbers of tokens of the flattened batch (B, T)."""
        return self.states_and_logits(batch)[1]

    def states_and_logits(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last states (B, T, H) of all tokens, and the logits (M, V) at `places`."""
        states: list[torch.Tensor] = []

        def choose(module: nn.Module, arguments: Any, output: Any) -> Any:
            states.append(output.last_hidden_state)  # (B, T, H)
            output["last_hidden_state"] = states[0].flatten(0, 1)[batch["places"]][None]  # (1, M, H)
            return output

        handle = self.model.base_model.register_forward_hook(choose)
        try:
            inputs = {name: tensor for name, tensor in batch.items() if name in self.accepted}
            logits: torch.Tensor = self.model(**inputs).logits[0]  # (M, V)
        finally:
            handle.remove()
        return states[0], logits


def start_of(source: Component, *, texts: Sequence[str], max_length: int, seed: int) -> Start:
    """Return from where the pre-training of an encoder begins.

    A source that has an `origin` is a checkpoint, with its own head where it has one. Another, or where that is None, is
    built: weights are random, a function of the seed, the tokenizer is trained on the texts.

    Raises:
        ParamsError: if its weights or its tokenizer cannot be read, or do not fit together.
    """
    known = source.call("origin") if components.has(source.kind, source.name, "origin") else None
    if known is None:
        parts = source.build(texts=texts, max_length=max_length, seed=seed)

        def draw(loader: str) -> tuple[Any, list[str]]:
            torch.manual_seed(derive_seed(seed, "language model"))
            return _from_config(loader, parts.model.config), []

        return Start(parts.tokenizer, draw, f"source {source.name}", random=True)
    origin, revision = known
    tokenizer = from_pretrained("AutoTokenizer", origin, revision, key="source")
    config = from_pretrained("AutoConfig", origin, revision, key="source")
    check_length(max_length, config=config.to_dict(), origin=origin)

    def load(loader: str) -> tuple[Any, list[str]]:
        _check_class(loader, config)
        model, new = load_weights(loader, origin, revision, key="source")
        check_vocabulary(model, tokenizer, origin=origin, key="source")
        encoder = [name for name in new if name.startswith(f"{model.base_model_prefix}.")]
        if encoder and model.base_model is not model:
            raise ParamsError(
                f"source: {origin} must hold all weights of the encoder of a {type(model).__name__}, got none for "
                f"{len(encoder)}, such as {encoder[:3]}: they would be random. Take the checkpoint as it was pre-trained.",
                code="E204",
            )
        return model, new

    return Start(tokenizer, load, origin)


def _from_config(loader: str, config: Any) -> Any:
    import transformers

    _check_class(loader, config)
    own = deepcopy(config)  # bart's decoder by itself changes it
    return getattr(transformers, loader).from_config(own, dtype=torch.float32)


def _check_class(loader: str, config: Any) -> None:
    """Check that transformers has a class of a form for a family.

    Raises:
        ParamsError: if it has none.
    """
    import transformers

    if type(config) not in getattr(transformers, loader)._model_mapping:
        raise ParamsError(
            f"pretrain.pretext: transformers must have a class for it ({loader}) in the family of the source, got none for "
            f"model_type {config.model_type!r}. Take another pretext, or another source.",
            code="E203",
        )


def save_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write a model and its tokenizer as transformers does."""
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def mask_token(start: Start) -> int:
    """Return the id of the mask.

    Raises:
        ParamsError: if the tokenizer has none.
    """
    if start.tokenizer.mask_token_id is None:
        raise ParamsError(
            f"source: {start.origin} must have a mask token, got a {type(start.tokenizer).__name__} without. Take a "
            "checkpoint that was pre-trained as a masked language model, or another pretext.",
            code="E204",
        )
    return int(start.tokenizer.mask_token_id)


def notes_on(start: Start, new: Sequence[str]) -> list[str]:
    """Return, and log, which weights a pre-training begins with that no other one has learnt."""
    note = (
        "all weights are new"
        if start.random
        else f"{start.origin} has no {_modules_of(new)}: new, and trained from random"
    )
    notes = [note] if start.random or new else []
    for text in notes:
        log.warning("pretrain: %s", text)
    return notes


def _modules_of(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
