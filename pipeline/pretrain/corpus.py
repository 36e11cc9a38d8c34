"""The texts of a further pre-training: of the tasks, of test rows only where asked for, and of files. Never a label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.data.fold_jobs import raw_texts
from pipeline.errors.exceptions import DataError
from pipeline.params.encoders import Pretraining
from pipeline.pretrain.masks import uniform
from pipeline.text.near_duplicates import cluster_texts, hash_texts
from pipeline.text.normalising import normalise

SIMILARITY = 0.8  # from which on a text is too near to one that is learnt to measure anything by it
Place = tuple[int, int]  # repeat and fold


@dataclass(frozen=True)
class Corpus:
    """Distinct texts, none of them empty, and how many of them are from where: tasks, unlabelled, test, or a file's path."""

    texts: list[str]
    counts: dict[str, int]


def corpus_of(table: Table, folds: Folds, settings: Pretraining, *, place: Place | None = None) -> Corpus:
    """Return the texts that a pre-training sees; with a `place` it is that of one fold, whose validation texts are left out.

    The rows that `folds` holds out for good count as test rows. Unless these take part (`transductive`), no line of a file
    and no unlabelled row that reads like one of them does either.

    Raises:
        DataError: if a file is not text, or nothing is left.
    """
    rows = table.rows[["row_id", "task", "split", "text", "text_pair"]]
    plan = folds.rows
    kept_for_good = _is_among(rows, plan[plan["fold"] == HOLDOUT_FOLD])
    is_test = (rows["split"] == "test") | kept_for_good
    scored = rows.iloc[:0]
    if place is not None:
        of_fold = plan[(plan["repeat"] == place[0]) & (plan["fold"] == place[1])]
        scored = rows[_is_among(rows, of_fold)]
    barred = {normalise(text) for text in raw_texts(scored)}
    hidden = barred | (set() if settings.transductive else {normalise(text) for text in raw_texts(rows[is_test])})
    sources = {
        "tasks": (raw_texts(rows[(rows["split"] == "train") & ~kept_for_good]), barred),
        "unlabelled": (raw_texts(rows[rows["split"] == "unlabelled"]), hidden),
        "test": (raw_texts(rows[is_test]) if settings.transductive else [], barred),
        **{file: (list(read_lines(Path(file))), hidden) for file in settings.files},
    }
    texts: dict[str, str] = {}
    for name, (found, unseen) in sources.items():
        for text in (text.strip() for text in found):
            if text and text not in texts and not (unseen and normalise(text) in unseen):
                texts[text] = name
    names = list(texts.values())
    return Corpus(list(texts), {name: names.count(name) for name in sources if name in set(names)})


def _is_among(rows: pd.DataFrame, chosen: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows are those training rows of a part of the manifest."""
    known = pd.MultiIndex.from_frame(chosen[["task", "row_id"]])
    among = pd.MultiIndex.from_frame(rows[["task", "row_id"]]).isin(known)
    return (rows["split"] == "train") & among


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file of texts, each a text.

    Raises:
        DataError: if a line is not UTF-8, or holds bytes that no text has.
    """
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            got, code = f"byte {line[error.start]:#04x} at place {error.start + 1}", "E304"
        else:
            if "\0" not in text:
                yield text
                continue
            got, code = "a zero byte", "E300"
        raise DataError(
            f"{path}:{number}: must be text in UTF-8, got {got}. Convert the file, or remove it.", code=code
        )


def hold_out(texts: Sequence[str], ratio: float) -> tuple[list[str], list[str]]:
    """Return the texts to learn and those, about a share `ratio`, by which it is measured; at least one of each.

    A hash of the text decides, and of texts that are nearly equal that of one of them: so they stay together, and further
    texts do not move the others.

    Raises:
        DataError: if there are no two texts that differ enough.
    """
    if not ratio and texts:
        return list(texts), []
    if not texts:
        raise DataError("pretrain: must have texts to learn, got none. Add files, or rows.")
    column = pa.array(texts, pa.large_string())
    clusters = cluster_texts(column, similarity=SIMILARITY)
    least = np.full(clusters.max() + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, clusters, hash_texts(column))
    if len(least) < 2:
        raise DataError(
            f"pretrain.held_out_ratio: must leave a text to learn beside one to measure by, got {len(texts)} text(s), all "
            "nearly equal. Add files, or set held_out_ratio: 0."
        )
    draws = uniform(0, least.astype(np.int64))
    is_out = draws < ratio
    is_out[draws.argmin()], is_out[draws.argmax()] = True, False
    return [
        [text for text, cluster in zip(texts, clusters, strict=True) if is_out[cluster] == wanted]
        for wanted in (False, True)
    ]  # type: ignore[return-value]
