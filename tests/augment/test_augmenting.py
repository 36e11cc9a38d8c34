"""Copies: whose they are, what they may be used for, what is dropped and why; planted leaks must be caught."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.copies import COPIES, Copies, read_copies, write_part
from pipeline.artifacts.files import read_json
from pipeline.artifacts.table import TABLE_COLUMNS, Folds, Table
from pipeline.augment.augmenting import augment
from pipeline.data.fold_jobs import fold_jobs
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.augment import Augment
from pipeline.params.fields import Component
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import stage_recipe
from pipeline.text.templates import fields_of, render, with_fields
from tests.small import encoder, make_table, table_and_folds

SWAP = {"name": "random_words", "action": "swap"}
DELETE = {"name": "random_words", "action": "delete"}
TABLE, FOLDS = table_and_folds(n_train=32, n_test=8)


def make_params(steps: list[dict], **settings) -> Params:
    task = {"kind": "binary", "metric": "accuracy", "train": "train.csv", "test": "test.csv"}
    values = {
        "competition": "c", "seed": 3, "tasks": {"weather": task},
        "folds": {"n_splits": 2, "near_duplicate_similarity": 0.9},
        "augment": {"steps": steps, **settings}, "training": {}, "encoders": {"bert": encoder()},
        "stitch": {"pairs": []}, "baselines": {}, "stack": {}, "submit": {},
        "run": {"backend": "sequential", "device": "cpu"},
    }  # fmt: skip
    return Params.model_validate(values)


def run(steps: list[dict], table: Table = TABLE, folds: Folds = FOLDS, **settings) -> Copies:
    params = make_params(steps, **settings)
    augment(params, table, folds, recipe=stage_recipe(params, "augment"))
    return read_copies(manifest=folds.digest)


def summary() -> dict:
    return read_json(Path("out/augment/augment.json"))


def small_table(texts: list[str], folds: list[int], labels: str | None = None) -> tuple[Table, Folds]:
    """Return a table of training rows with the folds they lie in (-1: hold-out)."""
    ids = [f"r{number}" for number in range(len(texts))]
    rows = pd.DataFrame(
        {"row_id": ids, "text": texts, "text_pair": None, "label": list(labels or "01" * len(texts))[: len(texts)]}
    )
    rows = rows.assign(task="weather", split="train", group=None)
    plan = pd.DataFrame({"row_id": ids, "task": "weather", "repeat": 0, "fold": folds, "cluster": range(len(texts))})
    return make_table(rows[TABLE_COLUMNS], {"weather": ["0", "1"]}), Folds(plan, "f" * 64)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_copies_carry_parent_augmenter_seed_and_edit_distance() -> None:
    copies = run([{"augmenter": SWAP, "n_copies": 2}]).rows
    texts = TABLE.rows.set_index("row_id")["text"]
    assert set(copies["augmenter"]) == {"random_words swap"}
    assert copies["copy_id"].is_unique
    assert (copies["text"] != texts.loc[copies["row_id"]].to_numpy()).all()
    assert (copies["edit_distance"] > 0).all()
    labels = TABLE.rows.set_index("row_id")["label"]
    assert (copies["label"].to_numpy() == labels.loc[copies["row_id"]].to_numpy()).all()
    assert copies.groupby("row_id").size().max() == 2


def test_L3_I11_copies_stay_in_their_fold() -> None:
    """A copy lies in its row's fold and is trained on only where that row is a training row."""
    copies = run([{"augmenter": SWAP}])
    for job in fold_jobs(TABLE, FOLDS, copies, seed=0):
        parents = job.fitted_ids.iloc[job.copies["parent"]]
        assert len(job.copies)
        scored = set(job.predicted.loc[job.predicted["split"] == "oof", "row_id"])
        assert not scored & set(parents)
        assert (job.fitted["label"].iloc[job.copies["parent"]].to_numpy() == job.copies["label"].to_numpy()).all()


def test_L3_I11_what_a_fold_s_copies_are_made_of_stays_in_that_fold() -> None:
    """Substitutes are words of the corpus: each must occur in a row of the parent's own fold."""
    texts = [f"word{number} in row{number} stands{number} here{number}" for number in range(12)]
    table, folds = small_table(texts, [0, 1, 2] * 4)
    copies = run([{"augmenter": {"name": "random_words", "action": "substitute"}, "n_copies": 4}], table, folds).rows
    assert len(copies) > 12
    for fold in range(3):
        own = {word for text, place in zip(texts, [0, 1, 2] * 4, strict=True) if place == fold for word in text.split()}
        made = {word for text in copies.loc[copies["fold"] == fold, "text"] for word in text.split()}
        assert {word.lower() for word in made} <= own


@pytest.mark.parametrize(
    ("texts", "augmenter"),
    [
        (["我们头发很长了吗", "我們頭髮很長了嗎"], {"name": "script", "direction": "to_traditional"}),
        (["a fire in the city", "ａ ｆｉｒｅ ｉｎ ｔｈｅ ｃｉｔｙ"], {"name": "width", "direction": "full"}),
        (["a fire in the city", "A FIRE in the CITY"], {"name": "width", "direction": "full"}),
        (["the old house stands by the river in the north", "the old house stands by the river in the north!"],
         {"name": "width", "direction": "full"}),
    ],
    ids=["twin-in-another-script", "width", "casing", "near"],
)  # fmt: skip
def test_L3_I11_a_copy_like_a_row_of_another_fold_is_barred_from_the_training_for_it(texts, augmenter) -> None:
    """A copy equal or nearly equal to a scored row is left out of the training for that row's fold."""
    table, folds = small_table([*texts, "quite another text one", "quite another text two"], [0, 1, 0, 1])
    copies = run([{"augmenter": augmenter}], table, folds)
    leaking = copies.rows.loc[copies.rows["row_id"] == "r0", "copy_id"]
    dropped = summary()["steps"][0]["dropped"]
    assert set(leaking) <= set(copies.barred.loc[copies.barred["fold"] == 1, "copy_id"])
    assert len(leaking) or dropped == {"equals another row": 1}
    assert all(
        "r0" not in set(job.fitted_ids.iloc[job.copies["parent"]]) for job in fold_jobs(table, folds, copies, seed=0)
    )


def test_a_copy_like_a_row_of_the_hold_out_is_dropped() -> None:
    table, folds = small_table(["a fire in the city", "A FIRE in the CITY", "one more", "two more"], [0, -1, 0, 1])
    copies = run([{"augmenter": {"name": "width", "direction": "full"}}], table, folds)
    assert "r0" not in set(copies.rows["row_id"])
    assert summary()["steps"][0]["dropped"]["nearly equals a row of the hold-out"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"row_id": "r1"}, "its parent is no training row"),
        ({"text": "the second text stands here"}, "its text is that of a scored row"),
        ({"text": " THE SECOND text ｓtands  here"}, "its text is that of a scored row"),
    ],
    ids=["parent-of-the-scored-fold", "copy-of-a-scored-row", "casing-width-and-blanks"],
)
def test_L2_L3_a_leak_planted_in_the_artifact_is_refused_when_it_is_used(change, reason) -> None:
    """Copies that would leak are refused by the stage that is to train on them, whoever made the file."""
    texts = ["the first text stands here", "the second text stands here", "the third one", "the fourth one"]
    table, folds = small_table(texts, [0, 1, 0, 1])
    copies = run([{"augmenter": SWAP}], table, folds)
    row = copies.rows[copies.rows["row_id"] == "r0"].head(1)
    assert len(row) == 1
    for name, value in change.items():
        row = row.assign(**{name: value})
    write_part(COPIES, [row], manifest=folds.digest)
    with pytest.raises(DataError, match=reason):
        fold_jobs(table, folds, read_copies(manifest=folds.digest), seed=0)


def test_copies_of_another_manifest_are_refused() -> None:
    run([{"augmenter": SWAP}])
    with pytest.raises(DataError, match="was made from the fold manifest"):
        read_copies(manifest="0" * 64)


@pytest.mark.parametrize("change", ["more workers", "in shards", "killed and resumed"])
def test_the_same_seed_gives_the_same_bytes(change, monkeypatch) -> None:
    steps = [{"augmenter": SWAP, "n_copies": 2}, {"sequential": [DELETE, SWAP], "row_ratio": 0.5}]
    run(steps)
    paths = [Path("out/augment") / name for name in ("copies.parquet", "barred.parquet", "augment.json")]
    before = [path.read_bytes() for path in paths]
    if change == "in shards":
        monkeypatch.setattr("pipeline.augment.shards.SHARD_ROWS", 5)
    elif change == "killed and resumed":
        for unit in sorted(Path(".stitchfold/units").iterdir())[::2]:
            shutil.rmtree(unit)
    else:
        shutil.rmtree(".stitchfold")
        params = make_params(steps)
        workers = {"backend": Component(kind="backends", name="loky"), "n_workers": 4}
        params = params.model_copy(update={"run": params.run.model_copy(update=workers)})
        augment(params, TABLE, FOLDS, recipe=stage_recipe(params, "augment"))
    if change != "more workers":
        run(steps)
    found = [path.read_bytes() for path in paths]
    if change == "in shards":  # the summary's examples are the first of each shard
        before, found = before[:2], found[:2]
    assert found == before


def test_a_step_more_makes_only_its_own_copies() -> None:
    run([{"augmenter": SWAP}])
    run([{"augmenter": SWAP}, {"augmenter": DELETE}])
    record = json.loads(Path(".stitchfold/last_run/augment.json").read_text(encoding="utf-8"))
    assert (record["computed"], record["reused"]) == (2, 2)


def test_balance_to_brings_rare_classes_up_to_the_largest() -> None:
    texts = [f"row {number} has a few words of its own {number * 7}" for number in range(24)]
    table, folds = small_table(texts, [0, 1] * 12, labels="001100110000000000000000")
    copies = run([{"augmenter": SWAP, "balance_to": "largest"}], table, folds)
    counts = table.rows.merge(folds.rows[["row_id", "fold"]]).groupby(["fold", "label"]).size()
    added = copies.rows.groupby(["fold", "label"]).size()
    for fold in (0, 1):
        assert (fold, "0") not in added.index
        assert counts[fold, "1"] + added[fold, "1"] == counts[fold, "0"]


def test_row_ratio_classes_and_cap_bound_what_is_made() -> None:
    half = run([{"augmenter": SWAP, "row_ratio": 0.5}]).rows
    assert 0 < half["row_id"].nunique() < 32
    ones = run([{"augmenter": SWAP, "classes": ["1"]}]).rows
    assert set(ones["label"]) == {"1"}
    capped = run([{"augmenter": SWAP, "n_copies": 3}], max_ratio=0.5)
    assert len(capped.rows) == 16
    assert summary()["steps"][0]["dropped"]["over max_ratio"] > 0


def test_partly_random_keeps_a_share_of_the_words() -> None:
    random = run([{"augmenter": DELETE, "n_copies": 3}]).rows
    partly = run([{"augmenter": DELETE, "n_copies": 3, "kept_ratio": 0.9}]).rows
    assert 0 < len(partly) < len(random)


def test_reserved_terms_stay_and_flows_draw_by_seed() -> None:
    copies = run([{"one_of": [SWAP, {"name": "keyboard"}]}], reserved=["river", "天气"]).rows
    assert set(copies["augmenter"]) == {"random_words swap", "keyboard"}
    texts = TABLE.rows.set_index("row_id")["text"].loc[copies["row_id"]]
    for parent, copy in zip(texts, copies["text"], strict=True):
        assert all(parent.count(term) == copy.count(term) for term in ("river", "天气"))


def test_of_a_pair_one_text_changes() -> None:
    table, folds = small_table([f"first text number {n} of all" for n in range(8)], [0, 1] * 4)
    rows = table.rows.assign(text_pair=[f"second sentence {n} of the pair" for n in range(8)])
    copies = run([{"augmenter": SWAP}], make_table(rows, table.labels), folds).rows
    parents = rows.set_index("row_id").loc[copies["row_id"]]
    changed = np.stack([copies[side].to_numpy() != parents[side].to_numpy() for side in ("text", "text_pair")])
    assert (changed.sum(axis=0) == 1).all()
    assert changed.any(axis=1).all()


def test_copies_out_of_the_similarity_range_are_dropped() -> None:
    steps = [{"augmenter": DELETE}]
    kept = run(steps, quality={"similarity": "edit", "min_similarity": 0.9}).rows
    assert (kept["similarity"] >= 0.9).all()
    assert summary()["steps"][0]["dropped"]["too little like its row"] == 32 - len(kept) > 0


def test_a_copy_on_which_the_folds_own_model_flips_is_barred_for_that_fold_only() -> None:
    texts = [f"{('bad', 'good')[n % 2]} weather {n} {'today' if n % 3 else 'yesterday'}" for n in range(24)]
    table, folds = small_table(texts, [n // 2 % 2 for n in range(24)])
    quality = {"flip_confidence": 0.3, "flip_model": "tfidf_logistic"}
    copies = run([{"augmenter": DELETE, "n_copies": 3}], table, folds, quality=quality)
    flipped = copies.barred[copies.barred["reason"] == "the fold's own model flips"]
    assert 0 < len(flipped) < len(copies.rows)
    texts_of = copies.rows.set_index("copy_id")["text"]
    # What gives the label away was deleted wherever the model changes its mind.
    assert not any("good" in text or "bad" in text for text in texts_of.loc[flipped["copy_id"]])


def test_D19_a_row_on_which_an_augmenter_raises_is_named_kept_and_counted(monkeypatch, caplog) -> None:
    """A row on which an augmenter raises is named, kept without copies and counted; the others get theirs."""
    from pipeline.augment.rewriting.spans import PerText

    whole = PerText._variant

    def fails_on_one(self, text):
        if text == TABLE.rows["text"].iloc[3]:
            raise RuntimeError("cannot do this one")
        return whole(self, text)

    monkeypatch.setattr(PerText, "_variant", fails_on_one)
    copies = run([{"augmenter": SWAP}]).rows
    assert copies["row_id"].nunique() == 31
    assert summary()["steps"][0]["failed"] == [{"row_id": "003", "error": "RuntimeError('cannot do this one')"}]
    assert "row 003" in caplog.text


@pytest.mark.parametrize(
    ("returned", "dropped", "failed"),
    [
        (lambda texts: [[] for _ in texts], {}, 0),
        (lambda texts: [[""] for _ in texts], {"empty": 32}, 0),
        (lambda texts: [[" \u3000"] for _ in texts], {"empty": 32}, 0),
        (lambda texts: [[text] for text in texts], {"equals its row": 32}, 0),
        (lambda texts: [[text + " "] for text in texts], {"equals its row": 32}, 0),
        (lambda texts: [None for _ in texts], {}, 32),
        (lambda texts: [[None] for _ in texts], {}, 32),
        (lambda texts: [[7] for _ in texts], {}, 32),
        (lambda texts: None, {}, 32),
        (lambda texts: [], {}, 32),
        (lambda texts: [["more"] for _ in texts] + [["one"]], {}, 32),
    ],
)
def test_D19_whatever_an_augmenter_returns_rows_and_copies_stay_aligned(monkeypatch, returned, dropped, failed) -> None:
    """Nothing, empty or equal texts, None, too few or too many items: no copy, the reason counted, no row shifted."""
    from pipeline.augment.rewriting.spans import PerText

    monkeypatch.setattr(PerText, "augment", lambda self, texts, **arguments: returned(texts))
    copies = run([{"augmenter": SWAP}]).rows
    found = summary()["steps"][0]
    assert len(copies) == 0 and found["n_rows"] == 32
    assert found["dropped"] == dropped and len(found["failed"]) == failed


def test_D15_copies_of_the_only_row_of_a_class_serve_every_fold() -> None:
    """The only row of a class is trained on in every fold, and so are its copies."""
    texts = [f"weather {n} is {('bad', 'good')[n % 2]} today in the park" for n in range(8)]
    texts.append("snow falls on the quiet hills")
    table, folds = small_table(texts, [0, 0, 1, 1, 0, 0, 1, 1, -2], labels="010101012")
    table.labels["weather"].append("2")
    copies = run([{"augmenter": SWAP, "n_copies": 2}], table, folds)
    jobs = fold_jobs(table, folds, copies, seed=0)
    assert len(jobs) == 2
    for job in jobs:
        own = job.copies[job.copies["label"] == 2]
        assert len(own) == 2 and set(job.fitted_ids.iloc[own["parent"]]) == {"r8"}


def test_D19_a_copy_carries_the_id_of_its_row(monkeypatch) -> None:
    """Each copy carries its row's id and label, also when the augmenter gives several variants or none for some rows."""
    from pipeline.augment.rewriting.spans import PerText

    def some(self, texts, **arguments):
        return [[f"{text} one", f"{text} two", f"{text} three"][: len(text) % 3] for text in texts]

    monkeypatch.setattr(PerText, "augment", some)
    copies = run([{"augmenter": SWAP, "n_copies": 2}]).rows
    rows = TABLE.rows.set_index("row_id")
    assert 0 < copies["row_id"].nunique() < 32
    for copy in copies.itertuples():
        assert copy.text.rsplit(" ", 1)[0] == rows.loc[copy.row_id, "text"]
        assert copy.label == rows.loc[copy.row_id, "label"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"classes": ["rain"]}, r"augment.steps.0.classes: no row has this label: got 'rain'"),
        ({"balance_to": "rain"}, r"augment.steps.0.balance_to: no row has this label: got 'rain'"),
    ],
)
def test_labels_that_do_not_exist_are_named(step, message) -> None:
    with pytest.raises(ParamsError, match=message):
        run([{"augmenter": SWAP, **step}])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({}, "needs exactly one of"),
        ({"augmenter": SWAP, "one_of": [SWAP, DELETE]}, "needs exactly one of"),
        ({"augmenter": "synonymes"}, "Did you mean 'synonyms'"),
        ({"augmenter": {"name": "random_words", "action": "fly"}}, "action"),
    ],
)
def test_steps_that_contradict_themselves_are_refused(step, message) -> None:
    with pytest.raises(ValueError, match=message):
        Augment.model_validate({"steps": [step]})


def test_L6_unlabelled_rows_get_variants_only_where_that_is_allowed() -> None:
    """Test texts serve in training, without labels, only where params say transductive."""
    more = pd.DataFrame({"row_id": ["u0", "u1"], "text": ["more words in here", "still more words in here"]})
    more = more.assign(task="weather", split="unlabelled", text_pair=None, label=None, group=None)
    table = make_table(pd.concat([TABLE.rows, more], ignore_index=True), TABLE.labels)
    found = run([{"augmenter": SWAP}], table).unlabelled
    assert set(found["text"]) == set(more["text"])
    assert (found["text"] != found["variant"]).all()
    transductive = run([{"augmenter": SWAP}], table, transductive=True).unlabelled
    assert len(transductive) == 2 + 8


def test_test_rows_and_unlabelled_rows_may_share_ids_and_rows_like_training_rows_are_left_out() -> None:
    texts = ["a row that nobody has seen", "another one that is new", TABLE.rows["text"].iloc[0] + "!"]
    more = pd.DataFrame({"row_id": TABLE.select("weather", "test")["row_id"].head(3), "text": texts})
    more = more.assign(task="weather", split="unlabelled", text_pair=None, label=None, group=None)
    table = make_table(pd.concat([TABLE.rows, more], ignore_index=True), TABLE.labels)
    found = run([{"augmenter": SWAP}], table, transductive=True).unlabelled
    assert set(texts[:2]) <= set(found["text"])
    assert texts[2] not in set(found["text"])


def test_a_step_that_finds_nothing_hands_the_row_on() -> None:
    table, folds = small_table([f"plain English number {n} of eight" for n in range(8)], [0, 1] * 4)
    copies = run([{"sequential": [{"name": "script", "direction": "to_traditional"}, SWAP]}], table, folds).rows
    assert copies["row_id"].nunique() == 8


def test_more_copies_of_a_row_leave_the_first_ones_as_they_are() -> None:
    one = run([{"augmenter": SWAP, "n_copies": 1}]).rows
    two = run([{"augmenter": SWAP, "n_copies": 2, "row_ratio": 0.5}]).rows
    first = two[two["copy_id"].str.endswith(".0")]
    both = first.merge(one, on="copy_id", suffixes=("", "_before"))
    assert len(both) == len(first) > 0
    assert (both["text"] == both["text_before"]).all()


def test_each_reserved_term_counts_by_itself() -> None:
    from pipeline.augment.quality_gate import _fault

    terms = frozenset({"New York", "Paris"})
    assert _fault("in New York today", "in Paris today", terms) == "lost a reserved term"
    assert _fault("in New York today", "today in NEW YORK", terms) is None


def test_an_empty_second_text_is_no_text_to_change() -> None:
    table, folds = small_table([f"first text number {n} of all" for n in range(8)], [0, 1] * 4)
    rows = table.rows.assign(text_pair="")
    assert run([{"augmenter": SWAP}], make_table(rows, table.labels), folds).rows["row_id"].nunique() == 8


def test_every_repeat_has_copies_of_its_own_that_stay_in_its_folds() -> None:
    texts = [f"word{number} in row{number} stands{number} here{number}" for number in range(12)]
    table, folds = small_table(texts, [0, 1, 2] * 4)
    again = folds.rows.assign(repeat=1, fold=[0] * 4 + [1] * 4 + [2] * 4)
    folds = Folds(pd.concat([folds.rows, again], ignore_index=True), folds.digest)
    copies = run([{"augmenter": {"name": "random_words", "action": "substitute"}}], table, folds)
    assert copies.rows["copy_id"].is_unique
    place = folds.rows.set_index(["row_id", "repeat"])["fold"]
    for row in copies.rows.itertuples():
        assert row.fold == place[row.row_id, row.repeat]
        mates = place[(place == row.fold) & (place.index.get_level_values("repeat") == row.repeat)]
        known = {word for row_id, _ in mates.index for word in texts[int(row_id[1:])].split()}
        assert {word.lower() for word in row.text.split()} <= known
    jobs = fold_jobs(table, folds, copies, seed=0)
    assert len(jobs) == 6 and all(len(job.copies) for job in jobs)


def test_each_task_s_copies_are_made_from_its_own_rows() -> None:
    """Tasks may share ids; each copy says, in another order, what the row of its own task says."""
    one, folds = small_table([f"alpha{i} beta{i} gamma{i} delta{i}" for i in range(6)], [0, 1] * 3)
    other = one.rows.assign(task="mood", text=[f"eta{i} theta{i} iota{i} kappa{i}" for i in range(6)])
    table = make_table(pd.concat([one.rows, other], ignore_index=True), {"weather": ["0", "1"], "mood": ["0", "1"]})
    folds = Folds(pd.concat([folds.rows, folds.rows.assign(task="mood")], ignore_index=True), folds.digest)
    copies = run([{"augmenter": SWAP}], table, folds).rows
    assert copies["task"].value_counts().to_dict() == {"weather": 6, "mood": 6}
    said = table.rows.set_index(["task", "row_id"])["text"]
    for copy in copies.itertuples():
        assert sorted(copy.text.lower().split()) == sorted(said[copy.task, copy.row_id].split())


def test_texts_written_without_blanks_are_told_before_words_are_taken_for_phrases(caplog) -> None:
    table, folds = small_table(["วันนี้อากาศดีมาก เราไปเที่ยว", "ฝนตกหนักมาก เราอยู่บ้าน"] * 4, [0, 1] * 4)
    run([{"augmenter": SWAP}], table, folds)
    assert "task weather: its texts are written without blanks, so that random_words take" in caplog.text
    caplog.clear()
    run([{"augmenter": SWAP}])
    assert "without blanks" not in caplog.text


def test_copies_of_a_templates_texts_have_the_fields_of_their_rows() -> None:
    texts = TABLE.rows["text"].tolist()
    fields = {"a": ["" if number % 3 == 0 else text for number, text in enumerate(texts)], "b": texts[::-1]}
    rows = TABLE.rows.assign(text=render("say {a} [SEP] {b}", fields))
    table = make_table(rows, TABLE.labels)
    copies = run([{"augmenter": SWAP, "n_copies": 2}, {"augmenter": DELETE}], table).rows
    parents = rows.set_index("row_id")["text"].loc[copies["row_id"]]
    for text, parent in zip(copies["text"], parents, strict=True):
        assert with_fields(text, fields_of(parent)) == parent
        assert [bool(field) for field in fields_of(text)] == [bool(field) for field in fields_of(parent)]
        fields = zip(fields_of(text), fields_of(parent), strict=True)
        assert all(set(new.casefold()) <= set(old.casefold()) for new, old in fields)
    assert len(copies) > len(TABLE.select("weather", "train"))
    shown = [step["examples"] for step in summary()["steps"]]
    assert all("[SEP]" in example["variant"] or "say" not in example["variant"] for step in shown for example in step)
