"""The file of a board, which people edit too: what is written is read back, and a wrong line is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.boards import Board, Submitted
from pipeline.errors.exceptions import DataError

ROW = Submitted("2026-11-27T04:00:00+00:00", "sha256:ab", "ensemble", 'a, "b"\nc', 0.7, 0.6, 0.8, None, None, "17")
HEAD = "date,file,model,message,estimate,low,high,public,private,ref\n"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.chdir(tmp_path)
    return Board("demo")


def test_what_is_noted_is_read_back_in_order(board: Board) -> None:
    assert board.read() == [] and board.last("sha256:ab") is None
    board.note(ROW)
    board.note(later := replace(ROW, ref="18", public=1 / 3))
    assert board.read() == [ROW, later] and board.last("sha256:ab") == later
    board.note(scored := replace(ROW, public=0.75), instead_of=ROW)
    assert board.read() == [scored, later]
    board.note(instead_of=later)
    assert board.read() == [scored]


@pytest.mark.parametrize(
    ("public", "low", "inside"),
    [(0.7, 0.6, True), (0.6, 0.6, True), (0.5, 0.6, False), (None, 0.6, None), (0.7, None, None)],
)
def test_a_score_lies_inside_outside_or_nobody_knows(
    public: float | None, low: float | None, inside: bool | None
) -> None:
    assert replace(ROW, public=public, low=low).inside is inside


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,score\n1,2\n", r"boards/demo\.csv:2: .*file"),
        (HEAD + "d,f,m,t,0.7,0.6,0.8,high,,\n", r"csv:2: public: .* valid number.*, got 'high'\. Mend"),
        (HEAD + "d,f,m,t,0.7,0.6,0.8,,,\nd,f,m,t,nan,0.6,0.8,,,\n", r"csv:3: estimate: .* finite number"),
        (HEAD + "d,f,m\n", r"csv:2: message"),
        (HEAD + "d,f,m,t,0.7,0.6,0.8,,,,,5\n", r"csv:2: too many fields"),
    ],
)
def test_a_line_that_is_no_submission_is_named(board: Board, text: str, message: str) -> None:
    board.path.parent.mkdir()
    board.path.write_text(text)
    with pytest.raises(DataError, match=message):
        board.read()
