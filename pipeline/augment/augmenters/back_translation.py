"""Back-translation: a text goes through a pivot language and comes back in other words.

Source: Sennrich et al., Improving Neural Machine Translation Models with Monolingual Data, 2016,
https://arxiv.org/abs/1511.06709; for augmentation: Xie et al., Unsupervised Data Augmentation, 2020,
https://arxiv.org/abs/1904.12848. nlpaug's BackTranslationAug gives one result per text, text by text, and its interface has
no place for seeds or candidates: here transformers' models run directly. Made for Marian (opus-mt); models of many
languages (M2M100, NLLB, mBART) serve too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.augment.generation.decoding import Decoding
from pipeline.augment.generation.generator import Generator, Prompt, check
from pipeline.augment.generation.languages import check_there_and_back, languages
from pipeline.augment.generation.pieces import has_letters
from pipeline.augment.generation.rewriter import Rewriter
from pipeline.model_sources import locate
from pipeline.ranges import Name, NotNegativeInt, PositiveFloat, PositiveInt

MODELS = ("forward", "back")


def build(
    *,
    device: str,
    forward: Name = "",
    back: Name = "",
    n_candidates: PositiveInt = 4,
    sampling: bool = True,
    temperature: PositiveFloat = 0.9,
    top_k: NotNegativeInt = 50,
    beams: PositiveInt = 1,
    language: str = "",
    pivot_language: str = "",
    tokens_per_batch: PositiveInt = 8192,
    cached: bool = True,
) -> Rewriter:
    """Return the augmenter; the models load with the first text. See `Decoding` for how texts are made.

    Args:
        forward: the translator into the pivot language.
        back: the translator from it.
        n_candidates: how many translations back are looked through at most, and so the most variants of a text.
        sampling: whether the way back is sampled; else it is searched by beams. The way there always is.
        language: code of the texts' language, for models of many languages: `eng_Latn`, `zh`, as their card says.
        pivot_language: code of the pivot, also for Marian models of many targets: `cmn_Hans`.
        cached: whether translations are kept in `.stitchfold/translations`.

    Raises:
        ParamsError: if beams are too few for the candidates, or the models are missing or do not lead there and back.
    """
    decoding = Decoding(sampling, beams, n_candidates, temperature, top_k)
    check(decoding)
    searched = replace(decoding, sampling=False, n_candidates=1, temperature=1.0, top_k=0)
    check_there_and_back(forward, languages(*locate(forward)), back, languages(*locate(back)))
    common: dict[str, Any] = {"device": device, "tokens_per_batch": tokens_per_batch, "cached": cached}
    there = Generator(forward, searched, route=(language, pivot_language), **common)
    again = Generator(back, decoding, route=(pivot_language, language), **common)

    def pivots(texts: Sequence[str]) -> list[str | None]:
        worded = [text for text in texts if has_letters(text)]
        best = dict(zip(worded, there.generate([Prompt(text) for text in worded]), strict=True))
        return [best[text][0] if text in best else None for text in texts]

    return Rewriter(again, prepare=pivots)
