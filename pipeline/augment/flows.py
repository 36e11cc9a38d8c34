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
        found = [variants or [text] for text, variants in zip(texts, made, strict=True)]
        for number, augmenter in enumerate(others, 1):
            places = [(row, place) for row, variants in enumerate(found) for place in range(len(variants))]
            changed = augmenter.augment(
                [found[row][place] for row, place in places],
                n_variants=1,
                seeds=[derive_seed(seeds[row], "flow", number, place) for row, place in places],
                reserved=[reserved[row] for row, _ in places],
            )
            for (row, place), variants in zip(places, changed, strict=True):
                if variants:
                    found[row][place] = variants[0]
        return [
            [one for one in dict.fromkeys(variants) if one != text]
            for text, variants in zip(texts, found, strict=True)
        ]  # fmt: skip


_built: dict[str, Augmenter] = {}


def build_flow(flow: list["Component"], corpus: Corpus, *, device: str, key: str) -> Augmenter:
    """Return a flow's augmenter; the last one built in this process is kept under its key."""
    key = f"{key} {[one.model_dump() for one in flow]}"
    if key not in _built:
        _built.clear()
        augmenters = [one.build(corpus=corpus, device=device) for one in flow]
        _built[key] = augmenters[0] if len(augmenters) == 1 else Sequential(augmenters)
    return _built[key]
