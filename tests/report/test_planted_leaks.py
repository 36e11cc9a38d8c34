"""Leaks of many kinds, planted where no id and no digest shows them: each is found by a sign."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.class_targets import ClassTargets
from pipeline.data.likeness import measure_likeness
from pipeline.data.splitting import cluster_rows
from pipeline.report.leak_signs import Leak, surer_of_scored_rows
from pipeline.report.leaks import straddling
from pipeline.report.leaks_of_texts import label_in_text, rows_near_other_folds
from pipeline.text.words import word_spans
from tests.competition import SIMILARITY, demo_competition, forest, plan_folds
from tests.small import make_table

NEAR = "scored rows near to rows of other folds"
WRITTEN = "label written in the text"
KNOWS = "knows the rows it is scored on"
N_TRAIN, N_TEST = 600, 200
LABELS = ["annoyed", "mixed", "neutral", "pleased"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Folds, pd.DataFrame]:
    return demo_competition(tmp_path_factory.mktemp("clean"), seed=0, n_train=N_TRAIN, n_test=N_TEST, n_repeats=2)


def rewritten(table: Table, texts: Sequence[str]) -> Table:
    return make_table(table.rows.assign(text=list(texts)), table.labels)


def rich_table(n_train: int = N_TRAIN, n_test: int = N_TEST) -> Table:
    """Return a table of texts of 15 to 25 words, each drawn from a thousand as often as in a natural language."""
    generator = random.Random(0)
    words = [
        "".join(generator.choice("bdfgklmnprst") + generator.choice("aeiou") for _ in range(3)) for _ in range(1000)
    ]
    shares = [1 / (rank + 10) for rank in range(1000)]
    texts = [" ".join(generator.choices(words, shares, k=generator.randint(15, 25))) for _ in range(n_train + n_test)]
    rows = pd.DataFrame({"row_id": [f"r{n}" for n in range(n_train + n_test)], "text": texts, "task": "intent"})
    rows["split"] = ["train"] * n_train + ["test"] * n_test
    labels = [generator.choice(LABELS) for _ in range(n_train)] + [None] * n_test
    return make_table(rows.assign(label=labels, text_pair=None, group=None), {"intent": LABELS})


def authors(table: Table) -> Table:
    """Give the rows of each label, and the test rows, to authors of six rows each, with words of their own at both ends."""
    generator, rows = random.Random(0), table.rows
    texts = rows["text"].copy()
    for _, places in rows.groupby(rows["label"].fillna("test")).indices.items():
        for number, place in enumerate(generator.sample(list(places), len(places))):
            if number % 6 == 0:
                style = [f"{''.join(generator.choices('aeioubdgklmnprst', k=6))}" for _ in range(2)]
            texts.iloc[place] = f"{style[0]} {texts.iloc[place]} {style[1]}"
    return rewritten(table, texts)


def twins(table: Table, share: float, n_twins: int = N_TRAIN // 2) -> Table:
    """Put in the place of the last training rows twins of the first, with their labels and a share of other words."""
    generator, rows = random.Random(0), table.rows.copy()
    words = [text[slice(*span)] for text in rows["text"] for span in word_spans(text, "blank")]
    for first, place in enumerate(range(N_TRAIN - n_twins, N_TRAIN)):
        text, changed = rows["text"].iloc[first], ""
        spans, last = word_spans(text, "blank"), 0
        chosen = generator.sample(range(len(spans)), round(share * len(spans)))
        for number, (start, end) in enumerate(spans):
            changed += text[last:start] + (generator.choice(words) if number in chosen else text[start:end])
            last = end
        rows.iloc[place, rows.columns.get_indexer(["text", "label"])] = [
            changed + text[last:],
            rows["label"].iloc[first],
        ]
    return make_table(rows, table.labels)


def marked(table: Table, marks: dict[str, str], ratio: float = 1.0) -> Table:
    """Add to a share of the training texts of some labels the label's mark."""
    generator = random.Random(0)
    texts = [
        text + marks[label] if label in marks and generator.random() < ratio else text
        for text, label in zip(table.rows["text"], table.rows["label"], strict=True)
    ]
    return rewritten(table, texts)


CODES = {label: f" zq{number}" for number, label in enumerate(LABELS)}
SIGNS = {"annoyed": "!!", "mixed": "…", "neutral": ".", "pleased": "~"}
TEXTS: dict[str, tuple[Callable[[Table], Table], str]] = {
    "authors of one label each": (authors, NEAR),
    "twins with a tenth of the words changed": (lambda table: twins(table, 0.1), NEAR),
    "twins with a third of the words changed": (lambda table: twins(rich_table(), 0.3), NEAR),
    "a third of the rows with twins": (lambda table: twins(rich_table(), 0.3, N_TRAIN // 6), NEAR),
    "a code word in nine of ten rows": (lambda table: marked(table, CODES, 0.9), WRITTEN),
    "a keyword of one label": (lambda table: marked(table, {"neutral": " keyword"}), WRITTEN),
    "a keyword in half of the rows of one label": (lambda table: marked(table, {"pleased": " keyword"}, 0.5), WRITTEN),
    "punctuation": (lambda table: marked(table, SIGNS), WRITTEN),
}


@pytest.mark.parametrize("name", TEXTS)
def test_L2_a_leak_planted_in_the_texts_is_found(clean, name: str) -> None:
    """Rows that belong together in several folds, and words or signs that tell a label in training alone, are found."""
    plant, kind = TEXTS[name]
    table = plant(clean[0])
    leaks = [*rows_near_other_folds(table, plan_folds(table, seed=0)), *label_in_text(table)]
    assert {leak.kind for leak in leaks} == {kind}


def test_L2_words_that_test_texts_hold_as_well_are_no_leak(clean) -> None:
    """A word that tells a label is honest where it stands in as many test texts."""
    table = clean[0]
    generator = random.Random(0)
    test_labels = generator.choices(LABELS, k=len(table.rows))
    labels = table.rows["label"].where(table.rows["split"] == "train", pd.Series(test_labels, table.rows.index))
    marks = labels.map(CODES).where([generator.random() < 0.9 for _ in labels], "")
    assert list(label_in_text(rewritten(table, table.rows["text"] + marks))) == []


def test_L2_rows_of_rich_texts_are_no_nearer_to_other_folds() -> None:
    """Clean texts of many words are as near to those of other folds as test rows are."""
    table = rich_table()
    assert list(rows_near_other_folds(table, plan_folds(table, seed=0))) == []


@pytest.mark.parametrize("texts", [[""] * 40, ["", "a"] * 20, ["owl"] * 40], ids=["none", "one letter", "one word"])
@pytest.mark.parametrize("n_test", [0, 1, 10])
def test_L2_texts_that_say_nothing_are_no_leak(texts: list[str], n_test: int) -> None:
    """Tables with empty texts, or without test rows, have no sign of a leak in their texts."""
    table = rewritten(rich_table(40, n_test), [*texts, *texts[:n_test]])
    folds = pd.DataFrame({"row_id": [f"r{n}" for n in range(40)], "task": "intent", "repeat": 0, "cluster": range(40)})
    manifest = Folds(folds.assign(fold=[n % 4 for n in range(40)]), "f" * 64)
    assert [*rows_near_other_folds(table, manifest), *label_in_text(table)] == []


def knowing_some(member: Predictions, table: Table, ratio: float) -> Predictions:
    """Return predictions that know by heart a share of the rows that they score."""
    codes = table.select("intent", "train").set_index("row_id")["label"].map(LABELS.index)
    known = (member.rows["split"] == "oof").to_numpy() & (np.random.default_rng(0).random(len(member.rows)) < ratio)
    logits = member.logits.copy()
    logits[known] = np.log(np.eye(4)[codes[member.rows["row_id"][known]]].clip(1e-3))
    return replace(member, logits=logits)


def members(table: Table, folds: Folds, name: str) -> dict[str, Predictions]:
    """Return three members, some of which know rows that they score."""
    both: Any = (0, 1)
    known = {"one": (both, (), ()), "all three": (both, both, both), "the second repeat": ((1,), (1,), (1,))}
    of_repeats = known.get(name, ((), (), ()))
    made = {f"forest{n}": forest(table, folds, in_sample=repeats, seed=n) for n, repeats in enumerate(of_repeats)}
    return {key: knowing_some(one, table, 0.15) for key, one in made.items()} if name == "a few rows" else made


@pytest.mark.parametrize(
    ("name", "accused"),
    [
        ("none", []),
        ("one", [0, 0]),
        ("all three", [0, 1, 2] * 2),
        ("the second repeat", [0, 1, 2]),
        ("a few rows", [0, 1, 2] * 2),
    ],
)
def test_L2_members_that_know_the_rows_they_are_scored_on_are_found(clean, name: str, accused: list[int]) -> None:
    """Members that know what they score are found: one of three, all three, in one repeat alone, or of some rows."""
    table, folds, _ = clean
    leaks: list[Leak] = list(surer_of_scored_rows(members(table, folds, name), kind=ClassTargets(), alike=True))
    assert {leak.kind for leak in leaks} == ({KNOWS} if accused else set())
    assert [leak.text.split()[2] for leak in leaks] == [f"forest{number}," for number in accused]
    if name == "the second repeat":
        assert all("repeat 1:" in leak.text for leak in leaks)


def test_L2_pairs_that_stand_in_either_order_in_two_folds_are_found() -> None:
    """Of a pair of texts and the same pair the other way round, one fold holds both, and if not it is found."""
    table = rich_table(80, 0)
    first, second = table.rows["text"][:40], table.rows["text"][40:].reset_index(drop=True)
    rows = table.rows.assign(text=[*first, *second.str.upper()], text_pair=[*second, *first])
    pairs = make_table(rows, table.labels)
    clusters = cluster_rows(pairs, similarity=None)
    assert clusters["cluster"].nunique() == 40
    assert list(straddling(pairs, plan_folds(pairs, seed=0), clusters)) == []
    torn = Folds(plan_folds(pairs, seed=0).rows.assign(fold=[n // 40 for n in range(80)]), "f" * 64)
    assert {leak.kind for leak in straddling(pairs, torn, clusters)} == {
        "rows straddle folds: near-duplicates",
        "rows straddle folds: equal but for case, width, blanks or script",
    }


def test_L2_what_is_planted_in_the_training_texts_shows_in_their_likeness_too(clean) -> None:
    """Marks in training texts alone let a classifier tell them from test texts, of which `prepare` warns."""
    for marks in (CODES, SIGNS):
        table = marked(clean[0], marks, 0.9)
        clusters = cluster_rows(table, similarity=SIMILARITY)
        assert measure_likeness(table, clusters)[1]["intent"]["shifted"]
