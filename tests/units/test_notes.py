"""A note of a unit that is damaged, or whose values are of other types than they must be, says nothing."""

from pathlib import Path

import pytest

from pipeline.units.notes import FAILURE, PROGRESS, UNIT, read_failure, read_progress, read_unit_note


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '{"step": "3", "n_steps": 9}', '{"step": 3}', '{"step": 3, "n_steps": 0}', '{"step": NaN, "n_steps": 9}',
        '{"step": true, "n_steps": 9}', '{"step": 3, "n_steps": null}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_wrongly_typed_note_of_progress_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / PROGRESS).write_text(text, encoding="utf-8")
    assert read_progress(tmp_path) == {}


def test_a_note_of_the_right_types_says_what_it_says(tmp_path: Path) -> None:
    (tmp_path / PROGRESS).write_text('{"step": 3, "n_steps": 9.0, "loss": NaN}', encoding="utf-8")
    assert (read_progress(tmp_path)["step"], read_progress(tmp_path)["n_steps"]) == (3, 9.0)
    (tmp_path / UNIT).write_text('{"name": "a", "seed": 5, "settings": {}}', encoding="utf-8")
    assert read_unit_note(tmp_path) == {"name": "a", "seed": 5, "settings": {}}


@pytest.mark.parametrize("text", ['{"name": 5}', '{"name": "a", "seed": "5"}', '{"name": ["a"]}'])
def test_a_wrongly_typed_unit_goes_by_its_key(tmp_path: Path, text: str) -> None:
    (tmp_path / UNIT).write_text(text, encoding="utf-8")
    assert read_unit_note(tmp_path) == {"name": tmp_path.name}
    (tmp_path / FAILURE).write_text('{"code": 5}', encoding="utf-8")
    assert read_failure(tmp_path) == {}
