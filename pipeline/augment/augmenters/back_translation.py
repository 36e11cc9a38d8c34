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

from pipeline.augment.generation.generator import Generator, Prompt, checked
from pipeline.augment.generation.languages import check_there_and_back, languages
from pipeline.augment.generation.pieces import choose_variants, has_letters
from pipeline.augment.generation.translation_cache import Made
from pipeline.model_sources import locate
from pipeline.reproducibility import derive_seed

MODELS = ("forward", "back")


def build(
    *,
    device: str,
    forward: str = "",
    back: str = "",
    n_candidates: int = 4,
    sampling: bool = True,
    temperature: float = 0.9,
    top_k: int = 50,
    beams: int = 1,
    language: str = "",
    pivot_language: str = "",
    tokens_per_batch: int = 8192,
    cached: bool = True,
) -> "BackTranslation":
    """Return the augmenter; the models load with the first text.

    Args:
        device: auto, cpu or cuda.
        forward: the translator into the pivot language.
        back: the translator from it.
        n_candidates: how many translations back are looked through at most, and so the most variants of a text.
        sampling: whether the way back is sampled; else it is searched by beams. The way there always is.
        temperature: below 1 likely words become likelier.
        top_k: how many of the likeliest tokens are sampled from; 0 for all.
        beams: of the searches; 1 is greedy.
        language: code of the texts' language, for models of many languages: `eng_Latn`, `zh`, as their card says.
        pivot_language: code of the pivot, also for Marian models of many targets: `cmn_Hans`.
        tokens_per_batch: padded tokens of a batch, times beams.
        cached: whether translations are kept in `.stitchfold/translations`.

    Raises:
        ParamsError: if an option is out of range, or the models are missing or do not lead there and back.
    """
    decoding = checked(
        sampling=sampling, beams=beams, n_candidates=n_candidates, temperature=temperature, top_k=top_k,
        tokens_per_batch=tokens_per_batch,
    )  # fmt: skip
    searched = replace(decoding, sampling=False, n_candidates=1, temperature=1.0, top_k=0)
    check_there_and_back(forward, languages(*locate(forward)), back, languages(*locate(back)))
    common: dict[str, Any] = {"device": device, "tokens_per_batch": tokens_per_batch, "cached": cached}
    there = Generator(forward, searched, route=(language, pivot_language), **common)
    again = Generator(back, decoding, route=(pivot_language, language), **common)
    return BackTranslation(there, again)


class BackTranslation:
    """Variants are the candidates of the second translator for the first one's best."""

    def __init__(self, there: Generator, again: Generator) -> None:
        self.there, self.again = there, again

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each text at most `n_variants` variants (see `contracts.Augmenter`)."""
        worded = [row for row, text in enumerate(texts) if has_letters(text)]
        best = self.there.generate([Prompt(texts[row]) for row in worded])
        pivots = {row: candidates[0] for row, candidates in zip(worded, best, strict=True)}

        def make(asked: list[tuple[int, int]]) -> list[Made]:
            possible = {(row, draw): pivots[row] for row, draw in asked if pivots[row]}
            prompts = [Prompt(str(pivot), derive_seed(seeds[row], draw)) for (row, draw), pivot in possible.items()]
            made = dict(zip(possible, self.again.generate(prompts), strict=True))
            return [made.get(one, []) for one in asked]

        n_draws = self.again.decoding.n_candidates if self.again.decoding.sampling else 1
        return choose_variants(texts, make, n_variants=n_variants, n_draws=n_draws, reserved=reserved)
