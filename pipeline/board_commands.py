"""The commands `stitchfold submit` and `stitchfold board`: to the board, and what it said."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline.ablate_commands import ParamsOption
from pipeline.artifacts.boards import Board
from pipeline.errors.exceptions import ParamsError
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.stage_run import exit_on_error

TestOption = Annotated[str | None, typer.Option(help="Of several test files the name of the one that was predicted.")]
MessageOption = Annotated[str | None, typer.Option("--message", "-m", help="By default model, estimate and commit.")]
ScoreOption = typer.Option(help="A score that the board gave this submission, where no client can ask for it.")
CompetitionOption = Annotated[
    str | None, typer.Option(help="The competition's name in its address on Kaggle; by default submit.kaggle.")
]


def submit(
    message: MessageOption = None,
    competition: CompetitionOption = None,
    kernel: Annotated[
        str | None, typer.Option("--kernel", "-k", help="<owner>/<notebook>, where notebooks are submitted.")
    ] = None,
    version: Annotated[int | None, typer.Option("--version", "-v", min=1, help="Its version.")] = None,
    file: Annotated[str, typer.Option("--file", "-f", help="The file that it writes.")] = "submission.csv",
    test: TestOption = None,
    again: Annotated[bool, typer.Option("--again", help="Upload even what was uploaded already.")] = False,
    wait_minutes: Annotated[float, typer.Option(min=0, help="Wait so long for the score.")] = 30,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Check the submission once more, upload it to Kaggle, wait for its score and note it in boards/."""
    with exit_on_error():
        params = load_params(path)
        name = _name_on_kaggle(params, competition)
        if (kernel is None) != (version is None) or (kernel or "/").count("/") != 1:
            raise ParamsError("--kernel: must be <owner>/<notebook> and have a --version, got one alone. Give both.")
        from pipeline.submit import uploading
        from pipeline.submit.kaggle import Kaggle, Notebook

        notebook = Notebook(kernel, version, file) if kernel and version else None
        new, written = uploading.describe(params, test=test, message=message, notebook=notebook)
        board, seconds = Board(params.competition), 60 * wait_minutes
        uploading.submit(
            new, board, Kaggle(name), notebook or written, again=again, wait_seconds=seconds, say=typer.echo
        )
        _show(board)


def board(
    score: Annotated[float | None, ScoreOption] = None,
    private: Annotated[float | None, ScoreOption] = None,
    test: TestOption = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask Kaggle for the scores that are still missing.")] = False,
    competition: CompetitionOption = None,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Show what the board said beside what was expected; enter its score of the submission in out/ by hand."""
    with exit_on_error():
        params = load_params(path)
        known = Board(params.competition)
        if score is not None or private is not None:
            if not all(math.isfinite(given) for given in (score, private) if given is not None):
                raise ParamsError(f"--score: must be a number, got {score}, --private {private}. Give the board's.")
            from pipeline.submit.uploading import describe

            new, _ = describe(params, test=test)
            row = known.last(new.file) or new
            public, private = (row.public if score is None else score), (row.private if private is None else private)
            known.note(replace(row, public=public, private=private), instead_of=row)
        if fetch:
            from pipeline.submit.kaggle import Kaggle
            from pipeline.submit.uploading import fetch as fetch_scores

            fetch_scores(known, Kaggle(_name_on_kaggle(params, competition)))
        _show(known)


def _name_on_kaggle(params: Params, competition: str | None) -> str:
    if (name := competition or params.submit.kaggle) is None:
        raise ParamsError("params.yaml submit.kaggle: must name the competition, got none. Set it, or --competition.")
    return name


def _show(board: Board) -> None:
    """Print the submissions, where there are some."""
    from pipeline.report.boards import lines

    if rows := board.read():
        typer.echo("\n".join([*lines(rows), f"{board.path}: commit it; dvc repro shows it in the report"]))
