"""A text written anew by a sequence-to-sequence model: a paraphrase or a summary, as the model was trained to.

Source: Lewis et al., BART, 2019, https://arxiv.org/abs/1910.13461, and Raffel et al., T5, 2019,
https://arxiv.org/abs/1910.10683. nlpaug's AbstSummAug gives one result per text from the global generators, about 5 rows/s
for a tiny T5: here transformers' models run directly.
"""

from pipeline.augment.generation.decoding import Decoding
from pipeline.augment.generation.generator import Generator, check
from pipeline.augment.generation.rewriter import Rewriter

MODELS = ("model",)


def build(
    *, device: str, model: str = "", prefix: str = "", n_candidates: int = 4, sampling: bool = True,
    temperature: float = 0.9, top_k: int = 50, beams: int = 4, tokens_per_batch: int = 8192, cached: bool = True,
) -> Rewriter:  # fmt: skip
    """Return the augmenter; the model loads with the first text. See `Decoding` for how texts are made.

    Args:
        model: a T5, BART or other sequence-to-sequence model.
        prefix: what the model wants before a text, such as `paraphrase: `.
        n_candidates: how many results are looked through at most, and so the most variants of a text.
        cached: whether results are kept in `.stitchfold/translations`.

    Raises:
        ParamsError: if an option is out of range or the model is missing.
    """
    decoding = Decoding(sampling, beams, n_candidates, temperature, top_k)
    check(decoding, tokens_per_batch)
    return Rewriter(
        Generator(model, decoding, device=device, tokens_per_batch=tokens_per_batch, prefix=prefix, cached=cached)
    )
