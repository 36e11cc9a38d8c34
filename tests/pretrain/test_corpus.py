"""Which texts a pre-training sees: of training rows, of test rows only when asked, of files; and what measures it."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.errors.exceptions import DataError
from pipeline.params.encoders import Pretraining
from pipeline.pretrain.corpus import corpus_of, hold_out, read_lines
from tests.small import TEXTS, table_and_folds

TRAIN, TEST = set(TEXTS[:32]), set(TEXTS[32:40])


def table_with(*unlabelled: str) -> tuple[Table, Folds]:
    table, folds = table_and_folds(n_train=32, n_test=8)
    more = pd.DataFrame({"row_id": [f"u{i}" for i in range(len(unlabelled))], "text": list(unlabelled)})
    more = more.assign(task="weather", split="unlabelled", text_pair=None, label=None, group=None)
    return Table(pd.concat([table.rows, more], ignore_index=True), table.labels, table.kinds), folds


def seen(*unlabelled: str, **settings) -> set[str]:
    return set(corpus_of(*table_with(*unlabelled), Pretraining.model_validate(settings)).texts)


def test_unless_asked_for_no_test_text_takes_part_not_even_by_another_way(tmp_path: Path) -> None:
    """Off means off: what reads like a test text is left out of files and of unlabelled rows too."""
    file = tmp_path / "more.txt"
    file.write_text("\n".join(["entirely new", "", f"  {TEXTS[33].upper()} ", TEXTS[0]]), encoding="utf-8")
    off = seen("another", TEXTS[34], files=[str(file)])
    assert off == {*TRAIN, "another", "entirely new"} and not off & TEST
    on = corpus_of(*table_with("another"), Pretraining(files=[str(file)], transductive=True))
    assert set(on.texts) >= TEST
    assert on.counts == {"tasks": 32, "unlabelled": 1, "test": 8, str(file): 2}


def test_rows_that_folds_hold_out_for_good_count_as_test_rows() -> None:
    table, folds = table_with()
    plan = folds.rows.assign(fold=[HOLDOUT_FOLD, *folds.rows["fold"][1:]])
    for transductive in (False, True):
        settings = Pretraining(transductive=transductive)
        assert (TEXTS[0] in corpus_of(table, Folds(plan, ""), settings).texts) == transductive


def test_a_fold_sees_none_of_its_validation_texts_wherever_they_stand(tmp_path: Path) -> None:
    table, folds = table_with("another")
    validated = {TEXTS[i] for i in range(32) if i // 2 % 2 == 1}
    file = tmp_path / "more.txt"
    file.write_text(f"{TEXTS[2].upper()}\nnew\n", encoding="utf-8")
    settings = Pretraining(files=[str(file)], per_fold=True)
    assert set(corpus_of(table, folds, settings, place=(0, 1)).texts) == {*(TRAIN - validated), "another", "new"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"good\n\xb0\xa1 bad\n", "more.txt:2: must be text in UTF-8, got byte 0xb0 at place 1"),
     (b"PK\x03\x04\x00\x00", "more.txt:1: must be text in UTF-8, got a zero byte")],
)  # fmt: skip
def test_a_file_that_is_not_text_is_named_with_its_line(content: bytes, said: str, tmp_path: Path) -> None:
    """A file of further texts that is not UTF-8 is refused, with the line."""
    path = tmp_path / "more.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(read_lines(path))


def test_texts_held_out_are_about_the_share_asked_for_whatever_stands_beside_them() -> None:
    texts = [f"text number {n} is about {n * n} and {n**3} things" for n in range(600)]
    learnt, out = hold_out(texts, 0.1)
    assert not set(learnt) & set(out) and len(learnt) + len(out) == 600 and 30 < len(out) < 95
    assert set(hold_out(texts[:300], 0.1)[1]) == set(out) & set(texts[:300])
    assert hold_out(texts, 0.0) == (texts, [])


def test_texts_that_are_nearly_equal_are_all_learnt_or_all_held_out() -> None:
    pairs = [
        (f"{n**5} and {n**6} came to the old town of {n**7}", f"{n**5} and {n**6} came to the old town of {n**7}!")
        for n in range(3, 90)
    ]
    out = set(hold_out([text for pair in pairs for text in pair], 0.3)[1])
    assert out and all((first in out) == (second in out) for first, second in pairs)


@pytest.mark.parametrize(("texts", "ratio"), [(["only one"], 0.1), (["only one", "Only one!"], 0.1), ([], 0.0)])
def test_a_corpus_of_one_text_has_nothing_to_measure_by(texts: list[str], ratio: float) -> None:
    with pytest.raises(
        DataError, match="must (leave a text to learn beside one to measure by|have texts to learn), got"
    ):
        hold_out(texts, ratio)
    if texts:
        assert hold_out(texts, 0.0)[0] == texts
