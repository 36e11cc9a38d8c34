"""What a generator makes of texts, as an `Augmenter`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.augment.generation.generator import Generator, Prompt
from pipeline.augment.generation.pieces import has_letters
from pipeline.augment.generation.translation_cache import Made
from pipeline.augment.rewriting.spans import count_terms
from pipeline.reproducibility import derive_seed


@dataclass(frozen=True)
class Rewriter:
    """Variants of a text are the candidates that a generator makes of what `prepare` makes of it, none of nothing.

    `finish` gets what was prepared and a candidate, and returns the variant or None.
    """

    generator: Generator
    prepare: Callable[[Sequence[str]], Sequence[str | None]] = list
    finish: Callable[[str, str], str | None] = lambda prepared, candidate: candidate

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each text at most `n_variants` candidates that are distinct, no copy of it, and kept its reserved terms.

        A text gets draws 0, 1, ... until it has enough; so its first variants are the same however many are asked for.
        """
        decoding = self.generator.decoding
        n_draws = decoding.n_candidates if decoding.sampling else 1
        variants: list[list[str]] = [[] for _ in texts]
        prepared = self.prepare(texts)
        drawn = [0 if has_letters(text) and source else n_draws for text, source in zip(texts, prepared, strict=True)]
        while True:
            # All texts that lack variants at once: models are fast in batches only.
            asked = [
                (row, draw)
                for row, done in enumerate(drawn)
                for draw in range(done, min(n_draws, done + n_variants - len(variants[row])))
            ]
            if not asked:
                return variants
            prompts = [Prompt(str(prepared[row]), derive_seed(seeds[row], draw)) for row, draw in asked]
            for (row, draw), candidates in zip(asked, self.generator.generate(prompts), strict=True):
                drawn[row] = draw + 1
                for variant in self._finished(str(prepared[row]), candidates):
                    if len(variants[row]) < n_variants and _serves(variant, texts[row], variants[row], reserved[row]):
                        variants[row].append(variant)

    def _finished(self, prepared: str, candidates: Made) -> list[str]:
        finished = [None if candidate is None else self.finish(prepared, candidate) for candidate in candidates]
        return [variant for variant in finished if variant is not None]


def _serves(variant: str, text: str, others: list[str], terms: frozenset[str]) -> bool:
    is_new = has_letters(variant) and variant != text.strip() and variant not in others
    return is_new and count_terms(text, terms) <= count_terms(variant, terms)
