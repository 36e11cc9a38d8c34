"""The copies of one shard of rows: flows of augmenters, words that stay, and the quality gate that needs no other row."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts.copies import COPIES
from pipeline.artifacts.frames import write_frame
from pipeline.augment.quality_gate import RECORD, Record, drop_faulty, example_of
from pipeline.augment.rewriting.spans import words_of
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import InterruptedRun, PipelineError
from pipeline.errors.failpoints import failpoint
from pipeline.params.augment import flow_name
from pipeline.reproducibility import derive_seed
from pipeline.text.templates import FIELD, fields_of, plain, with_fields

if TYPE_CHECKING:
    from pipeline.params.augment import Guide, Quality, Step
    from pipeline.params.fields import Component
    from pipeline.units.execution import Workspace

UNIT_COPIES = COPIES.name
BLOCK_ROWS = 250
N_EXAMPLES = 3
UNIT_COLUMNS = ["row_id", "number", "label", "text", "text_pair", "augmenter", "seed", "edit_distance", "similarity"]
log = logging.getLogger(__name__)
_built: dict[str, Augmenter] = {}


class Part(NamedTuple):
    """One variant: of which row, the how-manieth, what it says and who made it."""

    row: int
    number: int
    variant: str
    augmenter: str


def make_copies(
    workspace: "Workspace", *, rows: pd.DataFrame, corpus: Corpus, corpus_key: str, step: "Step", reserved: list[str],
    quality: "Quality",
) -> None:  # fmt: skip
    """Make the copies of a shard and write them, with a record, into the workspace's result.

    `rows` are `row_id, text, text_pair, label, seed, n_copies` of the rows of one fold that get copies, `corpus` the texts
    and labels of that fold, from which alone augmenters may learn, and `corpus_key` stands for it. Terms that are `reserved`
    stay as they are.
    """
    record = Record(n_rows=len(rows))
    sides = [_side(*row) for row in zip(rows["text_pair"], rows["seed"], strict=True)]
    sources = [rows[side].iloc[row] for row, side in enumerate(sides)]
    spared = _spared(sources, rows["seed"].tolist(), step, corpus, reserved, workspace.device)
    parts: list[Part] = []
    for flow, drawn in _by_flow(step, rows["seed"].tolist()):
        for start in range(0, len(drawn), BLOCK_ROWS):
            _stop_if_asked(workspace, len(parts), len(rows))
            numbers = drawn[start : start + BLOCK_ROWS]
            block = rows.iloc[numbers]
            augmenter = build_flow(flow, corpus, device=workspace.device, key=corpus_key)
            variants_of = _augmented(
                augmenter, [sources[row] for row in numbers], block, record, seeds=block["seed"].tolist(),
                n_variants=int(block["n_copies"].max()), reserved=[spared[row] for row in numbers],
            )  # fmt: skip
            failpoint("augment")
            for row, n_copies, variants in zip(numbers, block["n_copies"], variants_of, strict=True):
                wanted = enumerate(variants[:n_copies])
                parts += [Part(row, number, variant, flow_name(flow)) for number, variant in wanted]
    copies = _frame(sorted(parts), rows, sides, sources)
    record.n_made = len(copies)
    copies = drop_faulty(copies, corpus, quality, frozenset(reserved), workspace.device, record)
    record.examples += [{**example_of(row), "dropped": None} for row in copies.head(N_EXAMPLES).to_dict("records")]
    write_frame(workspace.result / UNIT_COPIES, copies[UNIT_COLUMNS], {})
    text = json.dumps(vars(record), ensure_ascii=False)
    (workspace.result / RECORD).write_text(text, encoding="utf-8", errors="surrogatepass")


def _by_flow(step: "Step", seeds: list[int]) -> Iterator[tuple[list["Component"], list[int]]]:
    """Yield each flow of a step with the numbers of the rows that drew it."""
    drawn = [derive_seed(seed, "flow") % len(step.flows) for seed in seeds]
    for number, flow in enumerate(step.flows):
        yield flow, [row for row, drawn_flow in enumerate(drawn) if drawn_flow == number]


def _stop_if_asked(workspace: "Workspace", done: int, n_rows: int) -> None:
    code = workspace.stop_requested()
    if code:
        raise InterruptedRun("interrupted. Run dvc repro to continue.", code)
    workspace.progress(step=done, n_steps=n_rows)


def _side(text_pair: Any, seed: int) -> str:
    """Return which text of a row changes: of a pair one or the other, by its seed."""
    return "text_pair" if isinstance(text_pair, str) and text_pair.strip() and derive_seed(seed, "side") % 2 else "text"


def _spared(
    texts: list[str], seeds: list[int], step: "Step", corpus: Corpus, reserved: list[str], device: str
) -> list[frozenset[str]]:
    """Return for each text what stays: reserved terms, a random share of its words, those its label hangs on."""
    guided = _guide(step.guide, corpus, device)(texts) if step.guide else [frozenset[str]()] * len(texts)
    spared = []
    for text, seed, words in zip(texts, seeds, guided, strict=True):
        kept: set[str] = set()
        if step.kept_ratio:
            generator = np.random.default_rng(derive_seed(seed, "kept"))
            kept = {word for word in sorted(set(words_of(text))) if generator.random() < step.kept_ratio}
        spared.append(frozenset(reserved) | words | kept)
    return spared


def _guide(guide: "Guide", corpus: Corpus, device: str) -> Any:
    from pipeline.augment.label_words import gradient_guide, tfidf_guide

    if guide.by == "gradient":
        return gradient_guide(Path(guide.model or ""), share=guide.word_ratio, device=device)
    return tfidf_guide(corpus, share=guide.word_ratio)


def _augmented(
    augmenter: Augmenter, texts: list[str], rows: pd.DataFrame, record: Record, **arguments: Any
) -> list[list[str]]:
    """Return the variants of texts; where the augmenter raises, row by row, so that one row costs only itself."""
    try:
        made = augmenter.augment(texts, **arguments)
        if len(made) == len(texts) and all(isinstance(variant, str) for variants in made for variant in variants):
            # A mark that an augmenter writes would make a field of what is none.
            return [
                variants if FIELD in text else [*map(plain, variants)]
                for text, variants in zip(texts, made, strict=True)
            ]
        problem: Exception = ValueError(
            f"must return a list of texts for each of {len(texts)} texts, got {made!r:.100}"
        )
    except PipelineError:
        raise
    except Exception as error:
        problem = error
    if len(texts) == 1:
        row_id = str(rows["row_id"].iloc[0])
        log.warning("row %s: %s failed, the row stays without copies: %r", row_id, type(augmenter).__name__, problem)
        record.failed.append({"row_id": row_id, "error": repr(problem)})
        return [[]]
    of_rows = [
        {name: [values[row]] if isinstance(values, list) else values for name, values in arguments.items()}
        for row in range(len(texts))
    ]
    return [
        _augmented(augmenter, [text], rows.iloc[[row]], record, **of_rows[row])[0] for row, text in enumerate(texts)
    ]


def _frame(parts: list[Part], rows: pd.DataFrame, sides: list[str], sources: list[str]) -> pd.DataFrame:
    """Return a row per variant, with the text that changed as `source` and what became of it as `variant`."""
    from rapidfuzz.distance import Levenshtein

    numbers = [part.row for part in parts]
    frame = rows.iloc[numbers][["row_id", "label", "text", "text_pair", "seed"]].reset_index(drop=True)
    frame["number"] = [part.number for part in parts]
    frame["variant"] = [part.variant for part in parts]
    frame["augmenter"] = [part.augmenter for part in parts]
    frame["source"] = [sources[row] for row in numbers]
    frame["edit_distance"] = [Levenshtein.distance(sources[part.row], part.variant) for part in parts]
    frame["similarity"] = np.nan
    for side in ("text", "text_pair"):
        changed = np.array([sides[row] == side for row in numbers], bool)
        frame.loc[changed, side] = frame.loc[changed, "variant"]
    return frame


@dataclass(frozen=True)
class Sequential:
    """Augmenters one after another; one that finds nothing to change leaves what it got.

    nlpaug's own flow returns a single text for a list of texts.
    """

    augmenters: Sequence[Augmenter]

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
        return [
            [variant for variant in dict.fromkeys(variants) if variant != text]
            for text, variants in zip(texts, flowing, strict=True)
        ]


@dataclass(frozen=True)
class FieldByField:
    """An augmenter of what texts are made of, field by field, so that a copy has the fields of its row."""

    augmenter: Augmenter

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return at most `n_variants` variants per text (see `contracts.Augmenter`); a field that has none stays."""
        if not any(FIELD in text for text in texts):
            return self.augmenter.augment(texts, n_variants=n_variants, seeds=seeds, reserved=reserved)
        fields = [fields_of(text) for text in texts]
        places = [
            (row, number) for row, of_row in enumerate(fields) for number, field in enumerate(of_row) if field.strip()
        ]
        made = self.augmenter.augment(
            [fields[row][number] for row, number in places], n_variants=n_variants,
            seeds=[derive_seed(seeds[row], "field", number) for row, number in places],
            reserved=[reserved[row] for row, _ in places],
        )  # fmt: skip
        changed = [[list(of_row) for _ in range(n_variants)] for of_row in fields]
        for (row, number), variants in zip(places, made, strict=True):
            for of_copy, variant in zip(changed[row], variants, strict=False):
                of_copy[number] = variant if variant.strip() else of_copy[number]
        made = [[with_fields(text, of_copy) for of_copy in copies] for text, copies in zip(texts, changed, strict=True)]
        return [
            [copy for copy in dict.fromkeys(copies) if copy != text] for text, copies in zip(texts, made, strict=True)
        ]


def build_flow(flow: list["Component"], corpus: Corpus, *, device: str, key: str) -> Augmenter:
    """Return a flow's augmenter; the last one built in this process is kept under its key."""
    key = f"{key} {[component.model_dump() for component in flow]}"
    if key not in _built:
        _built.clear()
        augmenters = [component.build(corpus=corpus, device=device) for component in flow]
        _built[key] = FieldByField(augmenters[0] if len(augmenters) == 1 else Sequential(augmenters))
    return _built[key]
