"""What `stitchfold parse` says of texts: their words, who depends on whom, and what belongs together."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tabulate import tabulate

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import DataError, PipelineError
from pipeline.pretrain.corpus import read_lines
from pipeline.pretrain.impact import Impact, Segmenter, impact
from pipeline.pretrain.trees import (
    ROOT,
    Brackets,
    bracketed,
    constituents,
    head_scores,
    projective_heads,
    spanning_heads,
)
from pipeline.pretrain.words import Words, words_of

Tree = Literal["projective", "spanning"]


@dataclass(frozen=True)
class Parsed:
    """A text of N words with their impacts on one another, the head of each, by number, ROOT of one, and its constituents."""

    text: str
    impact: Impact
    heads: list[int]
    tree: Brackets

    @property
    def words(self) -> list[str]:
        """Return the words as they stand in the text."""
        return [self.text[start:end] for start, end in self.impact.spans]

    def lines(self) -> str:
        """Return it for people and programs: as in CoNLL-U numbers, words and heads, 0 for the root; each head's impact."""
        heads = enumerate(self.heads)
        moved = ["" if head == ROOT else f"{self.impact.matrix[word, head]:.3f}" for word, head in heads]
        rows = zip(range(1, len(self.words) + 1), self.words, (head + 1 for head in self.heads), moved, strict=True)
        table = tabulate(list(rows), tablefmt="plain", disable_numparse=True)
        return f"# text = {self.text}\n# constituents = {bracketed(self.tree, self.words)}\n{table}\n"

    def record(self) -> dict[str, Any]:
        """Return it as JSON: heads and constituents by the words' numbers from 0, None of the root."""
        return {
            "text": self.text,
            "words": [{"start": start, "end": end, "text": self.text[start:end]} for start, end in self.impact.spans],
            "heads": [None if head == ROOT else head for head in self.heads],
            "constituents": self.tree,
            "impact": self.impact.matrix.round(4).tolist(),
        }


def parse(
    parts: EncoderParts, texts: Iterable[str], *, words: Words | Literal["impact"] = "auto", tree: Tree = "projective"
) -> Iterator[Parsed]:
    """Yield texts parsed by a masked language model.

    Args:
        parts: the model, as `load_masked_model` returns it.
        words: how a text is cut: see `words_of`, or by its impacts.
        tree: whether edges of the dependencies may cross.

    Raises:
        DataError: if a text has no word, or more tokens than the model has positions.
    """
    spans = Segmenter(parts).words_of if words == "impact" else partial(words_of, kind=words)
    heads_of = projective_heads if tree == "projective" else spanning_heads
    for number, text in enumerate(texts, 1):
        try:
            found = impact(parts, text, spans)
        except PipelineError as error:
            raise error.within(f"text {number}") from error
        yield Parsed(text, found, heads_of(head_scores(found.matrix)), constituents(found.matrix))


def texts_of(path: Path) -> list[str]:
    """Return the lines of a file that are not blank.

    Raises:
        DataError: if there is no such file, or it is no text in UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path}: must be a file of texts, one a line, got none. Correct the path.")
    return [text for line in read_lines(path) if (text := line.strip())]


def heat_map(parsed: Parsed) -> bytes:
    """Return a picture of the impacts, as PNG: a row for each word that is moved, a column for each that is masked."""
    from matplotlib.figure import Figure

    words, n_words = parsed.words, len(parsed.words)
    figure = Figure(figsize=(2 + 0.3 * n_words, 1.5 + 0.3 * n_words), layout="constrained")
    axes = figure.add_subplot()
    figure.colorbar(axes.imshow(parsed.impact.matrix, cmap="viridis"), label="impact")
    axes.set_xticks(np.arange(n_words), words, rotation=90)
    axes.set_yticks(np.arange(n_words), words)
    axes.set(xlabel="masked besides", ylabel="word whose state moves")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def as_json(parsed: Sequence[Parsed]) -> str:
    """Return parsed texts as a JSON list."""
    return json.dumps([one.record() for one in parsed], ensure_ascii=False)
