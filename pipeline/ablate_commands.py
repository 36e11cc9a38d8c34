"""The commands `stitchfold ablate ...`: does a choice pay, on the same folds and seeds?"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.params.loading import load_params
from pipeline.stage_run import exit_on_error

ablate = typer.Typer(help="Does a choice pay? Compare on the same folds and seeds.", no_args_is_help=True)
ParamsOption = Annotated[Path, typer.Option("--params", help="The params file.")]
EDITS = typer.Argument(
    help="Keys of params.yaml and values: encoders.bert.loss=focal; ' & ' joins those tried together."
)
ModelOption = Annotated[
    str | None,
    typer.Option(help="What is trained: an encoder, a baseline, or `stitched`; by default what the edits name."),
]
GridOption = Annotated[bool, typer.Option("--grid", help="Also try all combinations of edits of different keys.")]


@ablate.command("edits")
def ablate_any(
    edits: Annotated[list[str], EDITS],
    model: ModelOption = None,
    grid: GridOption = False,
    seeds: Annotated[int, typer.Option(min=1, help="Train under so many seeds.")] = 1,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Train a model with and without edits of params.yaml: what each of them brings, how surely, and what it costs."""
    with exit_on_error():
        from pipeline.experiments.variants import read_variants

        model, variants = read_variants(path, edits, model=model, grid=grid)
        from pipeline.artifacts.table import read_folds, read_table
        from pipeline.experiments.ablate_edits import ablate_edits

        _show(ablate_edits(variants, read_table(), read_folds(), model=model, n_seeds=seeds))


@ablate.command("standard")
def ablate_by_standard(
    edits: Annotated[list[str] | None, EDITS] = None,
    model: ModelOption = None,
    grid: GridOption = False,
    epochs: Annotated[int, typer.Option(min=1, help="So many epochs.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Train under so many seeds.")] = 3,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Train five epochs under several seeds, with and without edits: mean and variance of the validation score."""
    with exit_on_error():
        from pipeline.experiments.ablate_standard import ablate_standard, standard_edits
        from pipeline.experiments.variants import read_variants

        always = standard_edits(epochs)
        model, variants = read_variants(path, edits or [], model=model, grid=grid, always=always)
        from pipeline.artifacts.table import read_folds, read_table

        _show(ablate_standard(variants, read_table(), read_folds(), model=model, n_seeds=seeds))


@ablate.command("stitch")
def ablate_stitching(
    variants: Annotated[
        list[str] | None, typer.Argument(help="Of noised, pretrained and held_out; by default all of them.")
    ] = None,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Compare what the heads of stitched models learn from: all pairs anew for each variant, on the same folds."""
    with exit_on_error():
        params = load_params(path)
        from pipeline.artifacts.table import read_folds, read_table
        from pipeline.experiments.ablate_stitch import ablate_stitch

        _show(ablate_stitch(params, read_table(), read_folds(), variants=variants))


@ablate.command("augment")
def ablate_augmenting(
    steps: Annotated[list[str] | None, typer.Argument(help="Names of steps; by default each of augment.steps.")] = None,
    encoder: Annotated[str | None, typer.Option(help="The encoder to train; by default the first one.")] = None,
    equal_steps: Annotated[
        bool, typer.Option("--equal-steps/--equal-epochs", help="With copies, train as many steps or as many epochs.")
    ] = True,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Train one encoder without copies, with those of each step of `augment` and with all of them, on the same folds."""
    with exit_on_error():
        params = load_params(path)
        from pipeline.artifacts.table import read_folds, read_table
        from pipeline.experiments.ablate_augment import ablate_augment

        encoder = encoder or next(iter(params.encoders))
        table, folds = read_table(), read_folds()
        _show(ablate_augment(params, table, folds, encoder=encoder, steps=steps, equal_steps=equal_steps))


def _show(tables: dict[str, Path]) -> None:
    """Print the tables of an ablation."""
    from pipeline.artifacts.files import read_json
    from pipeline.experiments.terminal import table_lines

    for path in tables.values():
        typer.echo("\n".join(["", *table_lines(read_json(path))]))
        typer.echo(f"{path}: dvc repro --force --single-item report shows it")
