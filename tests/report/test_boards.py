"""Whether the board follows the estimate, in numbers worked by hand, on the page and on a terminal."""

from dataclasses import replace

import pytest

from pipeline.artifacts.boards import Submitted
from pipeline.report import boards
from tests.report.test_reporting import elements, everything, page, section

ROW = Submitted("2026-11-27T04:00:00+00:00", "sha256:a", "ensemble", "first <b>", 0.70, 0.65, 0.75, 0.71, None, "1")
ROWS = [
    ROW,
    replace(ROW, file="sha256:b", estimate=0.72, low=0.70, high=0.74, public=0.69),
    replace(ROW, file="sha256:c", estimate=0.74, low=0.70, high=0.78, public=0.73),
    replace(ROW, file="sha256:d", estimate=0.76, low=None, high=None, public=0.75),
]
INSIDE = "public scores lie in the interval that was expected"


def test_the_rank_correlation_and_the_share_inside_are_those_worked_by_hand() -> None:
    # ranks 1 2 3 4 against 2 1 3 4: 1 - 6 * 2 / (4 * 15)
    rank = "rank correlation of estimate and public score 0.80 over 4 submissions"
    assert boards.summary(ROWS) == f"2 of 3 {INSIDE}; {rank}"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ""),
        ([replace(ROW, public=None)], ""),
        (ROWS[:2], f"1 of 2 {INSIDE}"),
        ([replace(ROW, file=str(n), estimate=0.7 + n / 100) for n in range(3)], f"3 of 3 {INSIDE}"),
        ([ROWS[1], *ROWS[:2]], f"1 of 2 {INSIDE}"),
    ],
    ids=["none", "unscored", "two have no order", "equal scores have none", "a file counts once"],
)  # fmt: skip
def test_no_more_is_said_than_is_known(rows: list[Submitted], said: str) -> None:
    assert boards.summary(rows) == said


def test_the_page_shows_the_board_where_there_is_one_and_nothing_else() -> None:
    html = page({**everything(), "board": ROWS})
    elements(html)
    text = section(html, "board")
    assert "2 of 3 public scores" in text and "first &lt;b&gt;" in text and "0.6500 to 0.7500" in text
    assert 'id="board"' not in page(everything()) and "#board" not in page(everything())


def test_the_terminal_shows_a_line_for_each_submission() -> None:
    lines = boards.lines(ROWS)
    assert len(lines) == len(ROWS) + 2 and "[0.6500, 0.7500]" in lines[1] and "[–, –]" in lines[4]
