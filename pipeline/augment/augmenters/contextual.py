"""Words put in another's place, or between others, as a masked language model would write them there.

Source: Kobayashi, Contextual Augmentation, 2018, https://arxiv.org/abs/1805.06201; nlpaug's ContextualWordEmbsAug,
https://github.com/makcedward/nlpaug, which runs one text at a time (10 rows/s), lower-cases and puts blanks into Chinese.
So transformers is used directly, in batches, behind nlpaug's `Augmenter`; what is not replaced keeps every character.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from nlpaug import Augmenter as NlpaugAugmenter
from nlpaug.util import Method

from pipeline.augment.generation.mask_filling import Blank, Kind, Masked, MaskFiller, kind_of
from pipeline.augment.rewriting.spans import N_TRIES, align_case, cut_spans, is_word, term_spans
from pipeline.contracts import Augmenter
from pipeline.ranges import Name, PositiveFloat, PositiveInt, Share
from pipeline.text.words import Span

SPARES = True
MODELS = ("model",)
LIBRARIES = ("nlpaug", "jieba")  # their versions stand in the recipe
KEY_LIMIT = 2**63


def build(
    *,
    device: str,
    model: Name = "",
    action: Literal["substitute", "insert"] = "substitute",
    word_ratio: Share = 0.15,
    top_k: PositiveInt = 20,
    temperature: PositiveFloat = 1.0,
    tokens_per_batch: PositiveInt = 8192,
    max_length: PositiveInt = 256,
) -> Augmenter:
    """Return the augmenter.

    Args:
        model: a folder in models/ or `owner/name@<40-hex commit>`: a masked language model, like BERT, RoBERTa,
            DistilBERT or ELECTRA's generator.
        action: `substitute` words, or `insert` them before others.
        word_ratio: share of a text's words, one at least.
        top_k: of how many most likely words one is drawn.
        temperature: above 1 draws unlikely ones more often.
        tokens_per_batch: memory; what comes out does not depend on it.
        max_length: tokens that the model sees at once; a longer text is read in parts.

    Raises:
        ParamsError: if the model is none that fills masks.
    """
    filler = MaskFiller(
        model=model, device=device, top_k=top_k, temperature=temperature,
        tokens_per_batch=tokens_per_batch, max_length=max_length,
    )  # fmt: skip
    return Batched(ContextualAug(filler, action=action, word_ratio=word_ratio))


@dataclass(frozen=True)
class Edit:
    """What of a text [start, end) gives way to `n_blanks` blanks."""

    start: int
    end: int
    kind: Kind
    banned: frozenset[str]
    n_blanks: int = 1


@dataclass(frozen=True)
class Draft:
    """A text with the edits that are possible, its tokens' ids and where they start and end."""

    text: str
    edits: list[Edit]
    n_words: int
    input_ids: list[int]
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True)
class Batched:
    """A `ContextualAug` as an `Augmenter`."""

    augmenter: "ContextualAug"

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each text at most `n_variants` variants (see `contracts.Augmenter`)."""
        return self.augmenter.variants(texts, n_variants=n_variants, seeds=seeds, reserved=reserved)


class ContextualAug(NlpaugAugmenter):
    """An nlpaug augmenter that takes many texts at once."""

    def __init__(self, filler: MaskFiller, *, action: str, word_ratio: float) -> None:
        super().__init__(name="contextual", method=Method.WORD, action=action, aug_min=1, aug_max=None)
        self.filler, self.word_ratio = filler, word_ratio

    def augment(self, data: str | list[str], n: int = 1, num_thread: int = 1) -> list[str]:
        """Return n variants of a text, or one of each text, itself if it has none, seeded by `random` as nlpaug's are."""
        texts = [data] * n if isinstance(data, str) else list(data)
        seeds = [random.randrange(KEY_LIMIT) for _ in texts]
        varied = self.variants(texts, n_variants=1, seeds=seeds, reserved=[frozenset[str]()] * len(texts))
        return [variants[0] if variants else text for text, variants in zip(texts, varied, strict=True)]

    def variants(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each text at most `n_variants` variants; at most N_TRIES times as many are tried."""
        variants: list[list[str]] = [[] for _ in texts]
        drafts = [self._draft(*of_text) for of_text in zip(texts, reserved, self.filler.encode(texts), strict=True)]
        tried = [0 if draft.edits else N_TRIES * n_variants for draft in drafts]
        while True:
            # A text's tries have numbers, and are judged in their order: asking for more adds to what fewer gave.
            plan = [
                (row, tried[row] + more)
                for row in range(len(texts))
                for more in range(min(n_variants - len(variants[row]), N_TRIES * n_variants - tried[row]))
            ]
            if not plan:
                return variants
            chosen = [self._choose(drafts[row], seed=[seeds[row], number]) for row, number in plan]
            masked = [self._mask(drafts[row], *of_try) for (row, _), of_try in zip(plan, chosen, strict=True)]
            for (row, number), (edits, _), words in zip(plan, chosen, self.filler.fill(masked), strict=True):
                tried[row] = number + 1
                variant = written(texts[row], edits, words, inserts=self.action == "insert")
                if variant.strip() != texts[row].strip() and variant not in variants[row]:
                    variants[row].append(variant)

    def _draft(self, text: str, terms: frozenset[str], encoded: tuple[list[int], list[Span]]) -> Draft:
        input_ids, offsets = encoded
        draft = Draft(text, [], 0, input_ids, [start for start, _ in offsets], [end for _, end in offsets])
        kept = set(term_spans(text, terms))
        words = [span for span in cut_spans(text, terms) if is_word(text[slice(*span)])]
        edits = [self._edit(draft, start, end) for start, end in words if (start, end) not in kept]
        possible = [edit for edit in edits if edit is not None and self.filler.can_fill(edit.kind, edit.banned)]
        return Draft(text, possible, len(words), input_ids, draft.starts, draft.ends)

    def _edit(self, draft: Draft, start: int, end: int) -> Edit | None:
        """Return the edit of a word, or before it; None if the word is of no kind."""
        bare = start + (draft.text[start] == "#")
        word = draft.text[bare:end]
        kind = kind_of(word)
        if kind is None:
            return None
        if self.action == "insert":
            return Edit(start, start, "han" if kind == "han" else "letters", frozenset({word.casefold()}))
        if kind != "han":
            return Edit(bare, end, kind, frozenset({word.casefold()}))
        first, last = tokens_of(draft, bare, end)
        # Chinese words are as many tokens as characters for most models: each gets another one.
        return Edit(bare, end, kind, frozenset({word, *word}), max(1, min(last - first, end - bare)))

    def _choose(self, draft: Draft, *, seed: list[int]) -> tuple[list[Edit], list[int]]:
        """Return edits in the order of the text, and a key for each of their blanks."""
        generator = np.random.default_rng(seed)
        n_edits = min(len(draft.edits), max(1, round(self.word_ratio * draft.n_words)))
        edits = [draft.edits[i] for i in sorted(generator.choice(len(draft.edits), size=n_edits, replace=False))]
        keys = generator.integers(KEY_LIMIT, size=sum(edit.n_blanks for edit in edits))
        return edits, keys.tolist()

    def _mask(self, draft: Draft, edits: list[Edit], keys: list[int]) -> Masked:
        """Return the text's ids with masks instead of the tokens of each edit."""
        input_ids: list[int] = []
        positions: list[int] = []
        kinds: list[tuple[Kind, frozenset[str]]] = []
        done = 0
        for edit in edits:
            first, last = tokens_of(draft, edit.start, edit.end)
            first = max(first, done)
            input_ids += draft.input_ids[done:first]
            positions += range(len(input_ids), len(input_ids) + edit.n_blanks)
            input_ids += [self.filler.mask_id] * edit.n_blanks
            kinds += [(edit.kind, edit.banned)] * edit.n_blanks
            done = max(last, first)
        blanks = [Blank(*kind, key) for kind, key in zip(kinds, keys, strict=True)]
        return Masked([*input_ids, *draft.input_ids[done:]], positions, blanks)


def tokens_of(draft: Draft, start: int, end: int) -> Span:
    """Return [first, last) of the tokens that hold a part of the text's [start, end); none, if it is empty."""
    first = bisect_right(draft.ends, start)
    return first, max(first, bisect_left(draft.starts, end) if end > start else first)


def written(text: str, edits: list[Edit], words: list[str], *, inserts: bool) -> str:
    """Return the text with the words of the edits' blanks; all else stands as it stood."""
    parts: list[str] = []
    done = 0
    rest = iter(words)
    for edit in edits:
        word = "".join(next(rest) for _ in range(edit.n_blanks))
        if inserts:
            word += "" if edit.kind == "han" else " "
        parts += [text[done : edit.start], align_case(word, text[edit.start : edit.end])]
        done = edit.end
    return "".join([*parts, text[done:]])
