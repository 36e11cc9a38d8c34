"""A text written anew by a sequence-to-sequence model: a paraphrase or a summary, as the model was trained to.

Source: Lewis et al., BART, 2019, https://arxiv.org/abs/1910.13461, and Raffel et al., T5, 2019,
https://arxiv.org/abs/1910.10683. nlpaug's AbstSummAug gives one result per text from the global generators, about 5 rows/s
for a tiny T5: here transformers' models run directly.
"""

from pipeline.augment.generation.decoding import Decoding
from pipeline.augment.generation.generator import Generator, check
from pipeline.augment.generation.rewriter import Rewriter
from pipeline.ranges import Name, NotNegativeInt, PositiveFloat, PositiveInt

MODELS = ("model",)


def build(
    *,
    device: str,
    model: Name = "",
    prefix: str = "",
    n_candidates: PositiveInt = 4,
    sampling: bool = True,
    temperature: PositiveFloat = 0.9,
    top_k: NotNegativeInt = 50,
    beams: PositiveInt = 4,
    tokens_per_batch: PositiveInt = 8192,
    cached: bool = True,
) -> Rewriter:
    """Return the augmenter; the model loads with the first text. See `Decoding` for how texts are made.

    Args:
        model: a T5, BART or other sequence-to-sequence model.
        prefix: what the model wants before a text, such as `paraphrase: `.
        n_candidates: how many results are looked through at most, and so the most variants of a text.
        cached: whether results are kept in `.stitchfold/translations`.

    Raises:
        ParamsError: if beams are too few for the candidates or the model is missing.
    """
    decoding = Decoding(sampling, beams, n_candidates, temperature, top_k)
    check(decoding)
    return Rewriter(
        Generator(model, decoding, device=device, tokens_per_batch=tokens_per_batch, prefix=prefix, cached=cached)
    )
