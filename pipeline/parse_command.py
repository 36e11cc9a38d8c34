"""The command `stitchfold parse`: the words and trees that a masked language model knows of, without labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.errors.exceptions import ParamsError
from pipeline.stage_run import exit_on_error


def parse(
    model: Annotated[str, typer.Option(help="A folder with a masked language model, or <owner>/<name>@<commit>.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, each by itself.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file of texts, one a line.")] = None,
    words: Annotated[
        Literal["auto", "jieba", "blank", "character", "impact"],
        typer.Option(help="How texts are cut into words; `impact`: as the model itself tells."),
    ] = "auto",
    tree: Annotated[
        Literal["projective", "spanning"], typer.Option(help="Whether edges of the tree must not cross, or may.")
    ] = "projective",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all impacts.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw the impacts of a single text, as PNG.")] = None,
) -> None:
    """Show how the words of texts hang together, by what masking one does to a model's state of another."""
    with exit_on_error():
        from pipeline.artifacts.files import write_atomically
        from pipeline.pretrain import parse as parsing

        given = [*(texts or []), *(parsing.texts_of(file) if file else [])]
        if not given or (plot and len(given) > 1):
            wanted = "must be given" if not given else "must be a single one for --plot"
            raise ParamsError(f"texts: {wanted}, got {len(given)}. Name them, or one a line in a --file.")
        from pipeline.pretrain.impact import load_masked_model

        parsed = []
        for one in parsing.parse(load_masked_model(model), given, words=words, tree=tree):
            parsed.append(one)
            if not as_json:
                typer.echo(one.lines())
        if as_json:
            typer.echo(parsing.as_json(parsed))
        if plot:
            write_atomically(plot, parsing.heat_map(parsed[0]))
            typer.echo(f"{plot}: the impacts of {len(parsed[0].words)} words", err=True)
