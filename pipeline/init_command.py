"""The command `stitchfold init`: write params.yaml for the files of a competition."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline.ablate_commands import ParamsOption
from pipeline.stage_run import exit_on_error


def init_params(
    folder: Annotated[Path, typer.Argument(help="data/<competition>, a folder or a link to one.")],
    metric: Annotated[str | None, typer.Option(help="The metric that decides; the files do not say it.")] = None,
    train: Annotated[Path | None, typer.Option(help="The training file, where no name says it.")] = None,
    test: Annotated[Path | None, typer.Option(help="The test file, where no name says it.")] = None,
    sample: Annotated[Path | None, typer.Option(help="The sample submission, where no name says it.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="The column of the labels; several where there are.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite params.yaml.")] = False,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Look at the files of a competition and write params.yaml, whose comments say why each choice."""
    from pipeline.start.init import init

    with exit_on_error():
        lines = init(
            folder, path, ask=ask, force=force, metric=metric, train=train, test=test, sample=sample, label=label
        )
        typer.echo("\n".join(lines))


def ask(question: str, answers: Sequence[str]) -> str | None:
    """Return an answer, or None where there is no terminal or nothing was typed."""
    if not sys.stdin.isatty():
        return None
    while (answer := typer.prompt(f"{question}: {', '.join(answers)}", default="", show_default=False)) not in (
        "",
        *answers,
    ):
        typer.echo(f"Not one of them: {answer}")
    return answer or None
