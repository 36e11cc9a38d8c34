"""Augmenters one after another, as one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.contracts import Augmenter, Corpus
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from pipeline.params.fields import Component


class Sequential:
    """Augmenters one after another; one that finds nothing to change leaves what it got.

    nlpaug's own flow returns a single text for a list of texts.
    """

    def __init__(self, augmenters: Sequence[Augmenter]) -> None:
        self.augmenters = augmenters

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return at most `n_variants` variants per text (see `contracts.Augmenter`)."""
        first, *others = self.augmenters
        made = first.augment(texts, n_variants=n_variants, seeds=seeds, reserved=reserved)
        flowing = [variants or [text] for text, variants in zip(texts, made, strict=True)]
        for number, augmenter in enumerate(others, 1):
            places = [(row, position) for row, variants in enumerate(flowing) for position in range(len(variants))]
            changed = augmenter.augment(
                [flowing[row][position] for row, position in places],
                n_variants=1,
                seeds=[derive_seed(seeds[row], "flow", number, position) for row, position in places],
                reserved=[reserved[row] for row, _ in places],
            )
            for (row, position), variants in zip(places, changed, strict=True):
                flowing[row][position] = variants[0] if variants else flowing[row][position]
        return [list(dict.fromkeys(filter(text.__ne__, of_text))) for text, of_text in zip(texts, flowing, strict=True)]


_built: dict[str, Augmenter] = {}


def build_flow(flow: list["Component"], corpus: Corpus, *, device: str, key: str) -> Augmenter:
    """Return a flow's augmenter; the last one built in this process is kept under its key."""
    key = f"{key} {[component.model_dump() for component in flow]}"
    if key not in _built:
        _built.clear()
        augmenters = [component.build(corpus=corpus, device=device) for component in flow]
        _built[key] = augmenters[0] if len(augmenters) == 1 else Sequential(augmenters)
    return _built[key]
