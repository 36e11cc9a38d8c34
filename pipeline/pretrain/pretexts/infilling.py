"""Text infilling for encoder-decoders: write the text again of which spans are one mask each and sentences are out of order.

Source: Lewis et al., BART, 2020, section 2.2, https://arxiv.org/abs/1910.13461; for tokenizers that have sentinels in the
place of a mask, as those of t5: Raffel et al., 2020, section 3.1.4 (replace corrupted spans), https://arxiv.org/abs/1910.10683
Differs from them: spans are of the masking's units, they never touch, and a row hides at least one unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, takewhile
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.pretrain.drawn import IGNORED, Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import mask_token, notes_on
from pipeline.pretrain.masks import NO_UNIT
from pipeline.pretrain.pieces import Pieces, pieces_of, token_units
from pipeline.pretrain.pretext import Masking, Span, Start
from pipeline.pretrain.segments import sentence_spans

LOADER = "AutoModelForSeq2SeqLM"
SENTINEL = "<extra_id_{}>"
LOSSES = {"loss": ("labels", 1.0)}


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    span_length: Annotated[float, Field(ge=1)] = 3.0,
    permute_sentences: bool = True,
) -> DrawnPretext:
    """Take the family's encoder-decoder; it is saved whole, and of it fine-tuning reads the encoder.

    Args:
        start: tokenizer and weights to begin with.
        masking: of what spans are: tokens, or words. How many in a run is drawn here.
        mask_ratio: share of the units that spans hide, 0.3 in BART and 0.15 in T5.
        max_length: tokens per row.
        span_length: mean of the units of a span, which is Poisson distributed; a span of none is a mask inserted.
        permute_sentences: whether the encoder reads the sentences in a random order. Not where there are sentinels: what is
            written then are the spans, not the text.

    Raises:
        ParamsError: if the family has no such class, or the tokenizer neither a mask nor sentinels.
    """
    model, new = start.load(LOADER)
    if getattr(model.config, "decoder_start_token_id", None) is None:  # as a t5 built from its configuration
        model.config.decoder_start_token_id = start.tokenizer.pad_token_id or 0
    vocabulary = start.tokenizer.get_vocab() if start.tokenizer.mask_token_id is None else {}
    sentinels = [vocabulary[token] for token in takewhile(vocabulary.__contains__, map(SENTINEL.format, count()))]
    hiding = Hiding(sentinels or [mask_token(start)], bool(sentinels), mask_ratio, span_length, permute_sentences)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        pieces = pieces_of(start.tokenizer, texts, max_length=max_length, spans=masking.spans)
        return pieces.encoded.lengths, partial(hiding.drawn, texts, pieces, seed)

    return DrawnPretext(Restorer(model), model, start.tokenizer, rows_of, LOSSES, notes_on(start, new))


@dataclass(frozen=True)
class Hiding:
    """What of a text is not read, and what is written; `fills` stand for spans, where they are `numbered` each for one."""

    fills: list[int]
    numbered: bool
    ratio: float
    mean: float
    permute_sentences: bool

    def drawn(
        self, texts: Sequence[str], pieces: Pieces, seed: int, rows: np.ndarray, epoch: int
    ) -> dict[str, torch.Tensor]:
        """Return the tensors of rows (B,); the generator of each is a function of seed, epoch and row."""
        generators = [np.random.default_rng([seed, epoch, int(row)]) for row in rows]
        both = [self.of_row(texts[row], pieces, row, of) for row, of in zip(rows, generators, strict=True)]
        shown, written = zip(*both, strict=True)
        ids, mask = padded(shown, pieces.encoded.pad_token_id), padded([[1] * len(row) for row in shown], 0)
        return {"input_ids": ids, "attention_mask": mask, "labels": padded(written, IGNORED)}

    def of_row(
        self, text: str, pieces: Pieces, row: int, generator: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Return the ids that are read and those that are written of a text."""
        encoded, part = pieces.encoded, slice(*pieces.encoded.starts[row : row + 2])
        ids, units = encoded.input_ids[part].astype(np.int64), pieces.units[part]
        most = len(self.fills) - 1 if self.numbered else None
        spans = draw_spans(int(units.max()) + 1, ratio=self.ratio, mean=self.mean, most=most, generator=generator)
        if self.numbered:
            shown, hidden = infilled(ids, units, spans, self.fills)
            return shown, spelt(hidden, self.fills, ids[units == NO_UNIT])
        order = np.arange(len(ids))
        if self.permute_sentences:
            order = shuffled(token_units([text], encoded.spans[part], sentence_spans), generator)  # type: ignore[index]
        return infilled(ids[order], renumbered(units[order]), spans, self.fills * len(spans))[0], ids.tolist()


def draw_spans(
    n_units: int, *, ratio: float, mean: float, most: int | None, generator: np.random.Generator
) -> list[Span]:
    """Return spans of units [start, end), ascending, apart from one another, over about a share `ratio` of the units.

    They are no more than the units in them, so that no row grows; with `most` than so many, and none is empty.
    """
    budget, lengths = max(1, round(ratio * n_units)), list[int]()
    while (left := budget - sum(lengths)) > 0:
        lengths.append(min(max(int(generator.poisson(mean)), most is not None), left))
    # Where spans find no place apart from one another the shortest are left out.
    n_spans = min(n_units - budget + 1, budget, len(lengths) if most is None else most)
    chosen = generator.permutation(np.array(sorted(lengths, reverse=True)[: max(0, n_spans)], dtype=np.int64))
    gaps = np.sort(generator.choice(n_units - chosen.sum() + 1, size=len(chosen), replace=False))
    ends = gaps + np.cumsum(chosen)
    return list(zip((ends - chosen).tolist(), ends.tolist(), strict=True))


def infilled(
    ids: np.ndarray, units: np.ndarray, spans: Sequence[Span], fills: Sequence[int]
) -> tuple[list[int], list[list[int]]]:
    """Return the ids with each span of units as one of `fills`, and the ids of each span.

    Args:
        ids: of the tokens (T,).
        units: of each token (T,), ascending from 0 on, `NO_UNIT` of special ones.
        spans: of units [start, end), ascending; an empty one is put before its unit.
        fills: an id for each span.

    >>> infilled(np.array([1, 7, 8, 8, 9, 2]), np.array([-1, 0, 1, 1, 2, -1]), [(0, 0), (1, 2)], [50, 51])
    ([1, 50, 7, 51, 9, 2], [[], [8, 8]])
    """
    own = np.flatnonzero(units != NO_UNIT)
    begins = np.append(np.searchsorted(units[own], np.arange(units.max() + 1)), len(own)) + own[:1].sum()
    shown, hidden, place = list[int](), list[list[int]](), 0
    for (start, end), fill in zip(spans, fills, strict=False):
        shown += [*ids[place : begins[start]].tolist(), fill]
        place = begins[end]
        hidden.append(ids[begins[start] : place].tolist())
    return shown + ids[place:].tolist(), hidden


def spelt(hidden: Sequence[list[int]], sentinels: Sequence[int], special: np.ndarray) -> list[int]:
    """Return what is written where spans are numbered: each sentinel with its span, the next one, and how a row ends.

    >>> spelt([[5, 6], [7]], [90, 91, 92], np.array([1]))
    [90, 5, 6, 91, 7, 92, 1]
    """
    parts = ([sentinel, *span] for sentinel, span in zip(sentinels, [*hidden, []], strict=False))
    return [*chain.from_iterable(parts), *special[-1:].tolist()]


def shuffled(sentences: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the places (T,) of a row's tokens once its sentences, given for each token (T,), are in a random order."""
    rank = generator.permutation(sentences.max() + 1)
    own = sentences != NO_UNIT
    order = np.arange(len(sentences))
    order[own] = order[own][np.argsort(rank[sentences[own]], kind="stable")]
    return order


def renumbered(units: np.ndarray) -> np.ndarray:
    """Return units (T,) numbered anew from left to right; what was torn apart is several.

    >>> renumbered(np.array([-1, 4, 4, 0, 4, -1])).tolist()
    [-1, 0, 0, 1, 2, -1]
    """
    own = units != NO_UNIT
    return np.where(own, np.cumsum(own & np.append(True, np.diff(units) != 0)) - 1, NO_UNIT)


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Return rows of ids as a tensor, int64 (B, T), padded on the right with a value."""
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True, padding_value=value)


class Restorer(nn.Module):
    """An encoder-decoder that writes `labels` (B, T) one after another."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        before = self.model.prepare_decoder_input_ids_from_labels(batch["labels"])  # (B, T)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = self.model(**inputs, decoder_input_ids=before, use_cache=False).logits  # (B, T, V)
        return told(logits.flatten(0, 1), batch["labels"].flatten())
