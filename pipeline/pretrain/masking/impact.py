"""A word is masked whole, as a masked language model itself tells words: tokens of much impact on one another are of one.

Source: Wu et al., Perturbed Masking, 2020, https://arxiv.org/abs/2004.14786 (the impacts; they make trees of them, not words)
"""

from pipeline.pretrain.impact import Segmenter, load_masked_model
from pipeline.pretrain.pretext import Masking
from pipeline.ranges import Name, PositiveFloat

MODELS = ("model",)


def build(*, model: Name = "", threshold: PositiveFloat = 1.25) -> Masking:
    """Return it.

    Args:
        model: a folder in models/ with a masked language model, or `owner/name@<40-hex commit>`; it need not be the one that
            is pre-trained. A short text takes it about a second.
        threshold: see `join_words`.
    """
    return Masking(Segmenter(load_masked_model(model), threshold).words_of)
