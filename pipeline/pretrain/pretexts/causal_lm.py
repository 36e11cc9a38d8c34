"""Causal language modelling: tell each token from those before it; for decoders such as gpt2, Llama or Qwen3.

Source: Radford et al., Improving Language Understanding by Generative Pre-Training, 2018, eq. 1.
Rows are not packed: one that follows another in a row would be read by it. Of a text no end is learnt where the tokenizer
puts no token there.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import pad

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import encode
from pipeline.pretrain.drawn import Draw, DrawnPretext, Predictor, reads_ahead
from pipeline.pretrain.language_model import LanguageModel, notes_on
from pipeline.pretrain.pretext import Start

LOADER = "AutoModelForCausalLM"
LOSSES = {"loss": ("labels_at_places", 1.0)}


def build(*, start: Start, max_length: int) -> DrawnPretext:
    """Take the family's causal language model; nothing is masked, so that neither masking nor `mask_ratio` has a say.

    Args:
        start: tokenizer and weights to begin with.
        max_length: tokens per row.

    Raises:
        ParamsError: if the family has no such class, or its tokens read those after them, as those of encoders do.
    """
    model, new = start.load(LOADER)
    # Of a family of encoder-decoders the class is the decoder alone, of which fine-tuning would read nothing.
    if type(model.config)().is_encoder_decoder or reads_ahead(model):
        raise ParamsError(
            f"pretrain.pretext: the source must be a decoder, whose tokens read none but those before them, got "
            f"{start.origin}, of model_type {model.config.model_type!r}. Take a decoder, or a pretext that masks tokens."
        )

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        encoded = encode(start.tokenizer, texts, None, max_length=max_length, truncation="head")

        def draw(rows: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            batch = encoded.batch(rows)
            has_next = pad(batch["attention_mask"][:, 1:], (0, 1)).bool()  # (B, T)
            labels = batch["input_ids"].roll(-1, dims=1)[has_next]  # (M,)
            del batch["token_type_ids"]  # gpt2 would add the embedding of the token of that number
            return {**batch, "places": has_next.flatten().nonzero()[:, 0], "labels_at_places": labels}

        return encoded.lengths, draw

    return DrawnPretext(Predictor(LanguageModel(model)), model, start.tokenizer, rows_of, LOSSES, notes_on(start, new))
