"""The demo competition: the same bytes every time, bilingual, hard for a bag of words, without test labels anywhere."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline.base_models.baselines import tfidf_logistic
from pipeline.data import demo
from pipeline.errors.exceptions import DataError

FILES = ["README.txt", "sample_submission.csv", "test.csv", "train.csv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo")
    demo.generate(made)
    return made


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    demo.generate(tmp_path / "again")
    demo.generate(tmp_path / "other", seed=1)
    for name in FILES:
        content = (folder / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == content
    assert (tmp_path / "other" / "train.csv").read_bytes() != (folder / "train.csv").read_bytes()


def test_the_files_have_the_asked_sizes_and_nothing_else_is_written(tmp_path: Path) -> None:
    demo.generate(tmp_path, n_train=40, n_test=12)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert [len(rows_of(tmp_path / name)) for name in FILES[1:]] == [12, 12, 40]


def test_ids_are_unique_over_both_files_and_the_sample_matches_the_test_file(folder: Path) -> None:
    train, test, sample = (rows_of(folder / f"{name}.csv") for name in ("train", "test", "sample_submission"))
    ids = [row["id"] for row in train + test]
    assert len(set(ids)) == len(ids) == 800
    assert ids[0] == "s0001"
    assert [row["id"] for row in sample] == [row["id"] for row in test]


def test_test_labels_are_written_nowhere(folder: Path) -> None:
    assert list(rows_of(folder / "test.csv")[0]) == ["id", "synthetic_text"]
    assert len({row["label"] for row in rows_of(folder / "sample_submission.csv")}) == 1
    texts = " ".join(row["synthetic_text"] for row in rows_of(folder / "test.csv"))
    assert not any(label in texts for label in demo.LABELS)


def test_the_files_say_that_they_are_synthetic(folder: Path) -> None:
    assert (folder / "README.txt").read_text(encoding="utf-8").startswith("SYNTHETIC DATA")
    assert "synthetic_text" in (folder / "train.csv").read_text(encoding="utf-8").split("\n")[0]


def test_both_languages_and_all_labels_stand_in_train_and_test(folder: Path) -> None:
    for name in ("train", "test"):
        share = np.mean([is_chinese(row["synthetic_text"]) for row in rows_of(folder / f"{name}.csv")])
        assert 0.4 < share < 0.6
    counts = Counter(row["label"] for row in rows_of(folder / "train.csv"))
    assert set(counts) == set(demo.LABELS)
    assert min(counts.values()) == counts["mixed"] < 600 / 6


def test_texts_are_short(folder: Path) -> None:
    texts = [row["synthetic_text"] for row in rows_of(folder / "train.csv")]
    chinese = [len(text) for text in texts if is_chinese(text)]
    english = [len(text.split()) for text in texts if not is_chinese(text)]
    assert 8 < np.median(chinese) < 30
    assert 5 < np.median(english) < 20


def test_there_are_copies_contradictions_and_scraps(folder: Path) -> None:
    rows = rows_of(folder / "train.csv")
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row["synthetic_text"], set()).add(row["label"])
    assert len(labels) < len(rows) - 5
    assert any(len(given) > 1 for given in labels.values())
    assert any(row["synthetic_text"] in demo.SCRAPS for row in rows)


def test_every_frame_can_be_filled() -> None:
    for language in (demo.ENGLISH, demo.CHINESE):
        used = {way for ways in demo.CONSTRUCTIONS.values() for way in ways}
        assert set(language.templates) == used
    assert not any("{" in row.text for row in demo.draw_rows(3000, seed=3))


def test_the_same_words_stand_under_opposite_labels_in_another_order() -> None:
    bags: dict[tuple[str, ...], set[str]] = {}
    for row in demo.draw_rows(30_000, seed=0):
        words = [word for word in row.text.split() if word not in demo.ENGLISH.fillers.split()]
        bags.setdefault(tuple(sorted(words)), set()).add(row.meant)
    assert sum({"pleased", "annoyed"} <= meant for meant in bags.values()) > 100


def test_nine_in_a_hundred_labels_are_wrong_so_nobody_can_score_much_above_ninety() -> None:
    rows = demo.draw_rows(20_000, seed=0)
    given, meant = [row.label for row in rows], [row.meant for row in rows]
    assert 0.08 < np.mean(np.array(given) != np.array(meant)) < 0.10
    assert 0.88 < f1_score(given, meant, average="macro") < 0.92


def test_a_bag_of_words_is_far_above_chance_and_far_below_the_limit() -> None:
    rows = demo.draw_rows(1200, seed=0)
    frame = pd.DataFrame({"text": [row.text for row in rows], "text_pair": None})
    labels = np.array([demo.LABELS.index(row.label) for row in rows])
    model = tfidf_logistic.build(n_outputs=4, seed=0)
    model.fit(frame[:600], labels[:600])
    guesses = model.predict(frame[600:]).argmax(axis=1)
    assert 0.5 < f1_score(labels[600:], guesses, average="macro") < 0.78


def test_the_lexicon_s_words_stand_for_others_of_their_kind(tmp_path: Path) -> None:
    demo.write_lexicon(tmp_path / "synonyms.txt")
    lines = (tmp_path / "synonyms.txt").read_text(encoding="utf-8").splitlines()
    synonyms = {line.split()[0]: set(line.split()[1:]) for line in lines}
    assert len(synonyms) == len(lines)
    assert "bright" in synonyms["solid"] and "dim" not in synonyms["solid"]
    assert "台灯" in synonyms["水壶"] and "厨房" not in synonyms["水壶"]


def test_a_demo_is_not_written_over_the_files_of_a_competition(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,text,label", encoding="utf-8")
    for readme in (None, "My competition", "SYNTHETIC"):
        if readme is not None:
            (tmp_path / "README.txt").write_text(readme, encoding="utf-8")
        with pytest.raises(
            DataError, match=r"must be empty or hold an earlier demo, got \['train.csv'.*Name another folder"
        ):
            demo.generate(tmp_path)
    assert (tmp_path / "train.csv").read_text(encoding="utf-8") == "id,text,label"


def test_a_demo_is_written_over_an_earlier_or_half_written_one(tmp_path: Path) -> None:
    demo.generate(tmp_path, n_train=9, n_test=3)
    (tmp_path / "test.csv").unlink()
    demo.generate(tmp_path, n_train=10, n_test=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES and len(rows_of(tmp_path / "train.csv")) == 10
