"""Which copies are kept, and the record of what became of each."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.augment.rewriting.spans import count_terms
from pipeline.contracts import Corpus
from pipeline.text.templates import plain, readable

if TYPE_CHECKING:
    from pipeline.params.augment import Quality


RECORD = "record.json"


@dataclass
class Record:
    """What became of a shard: rows, copies made, why some were dropped, rows on which an augmenter failed, examples."""

    n_rows: int = 0
    n_made: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[dict[str, str]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


def read_record(folder: Path) -> Record:
    """Return the record of a finished unit."""
    values = json.loads((folder / RECORD).read_text(encoding="utf-8", errors="surrogatepass"))
    return Record(**{**values, "dropped": Counter(values["dropped"])})


def drop_faulty(
    copies: pd.DataFrame, corpus: Corpus, quality: "Quality", reserved: frozenset[str], device: str, record: Record
) -> pd.DataFrame:
    """Return the copies that pass, counting the others by reason."""
    faults = [_fault(*texts, reserved) for texts in zip(copies["source"], copies["variant"], strict=True)]
    reasons = pd.Series(faults, dtype=object)
    if quality.similarity is not None and len(copies):
        similarity = quality.similarity.build(corpus=corpus, device=device)
        sides = (copies[side].map(plain).tolist() for side in ("source", "variant"))
        copies = copies.assign(similarity=similarity(*sides))
        reasons[reasons.isna() & (copies["similarity"] < quality.min_similarity)] = "too little like its row"
        reasons[reasons.isna() & (copies["similarity"] > quality.max_similarity)] = "too much like its row"
    for reason in reasons.dropna().unique():
        dropped = copies[(reasons == reason).to_numpy(bool)]
        record.dropped[reason] += len(dropped)
        record.examples += [{**example_of(row), "dropped": reason} for row in dropped.head(1).to_dict("records")]
    return copies[reasons.isna().to_numpy(bool)].reset_index(drop=True)


def _fault(source: str, variant: str, reserved: frozenset[str]) -> str | None:
    if not variant.strip():
        return "empty"
    if source.strip() == variant.strip():
        return "equals its row"
    lost = count_terms(source, reserved) - count_terms(variant, reserved)
    return "lost a reserved term" if lost else None


def example_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the record keeps of a copy, as JSON."""
    texts = {name: readable(row[name]) for name in ("source", "variant")}
    return {name: row[name] for name in ("row_id", "augmenter", "edit_distance")} | {
        **texts, "similarity": None if np.isnan(row["similarity"]) else row["similarity"],
    }  # fmt: skip
