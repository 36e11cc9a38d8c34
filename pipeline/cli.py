"""The command `stitchfold`: check params, print their schema, make the demo's data, show, validate, export what came out."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from pipeline.ablate_commands import ParamsOption, ablate
from pipeline.artifacts.paths import AUDIT, METRICS, REPORT_PAGE
from pipeline.board_commands import board, submit
from pipeline.errors.exceptions import MachineError, ParamsError
from pipeline.init_command import init_params
from pipeline.params.loading import load_params
from pipeline.parse_command import parse
from pipeline.stage_run import exit_on_error

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(ablate, name="ablate")


@app.command()
def check(
    path: ParamsOption = Path("params.yaml"),
    dry_steps: Annotated[
        int,
        typer.Option("--dry-steps", min=0, help="Train so many real steps of every encoder, and estimate the time."),
    ] = 0,
) -> None:
    """Check params.yaml, all errors at once, each with its line and a remedy; then disk, memory and lengths."""
    with exit_on_error():
        params = load_params(path)
        from pipeline.checks.preflight import preflight

        typer.echo(
            f"{path}: fine. Competition {params.competition}: {len(params.tasks)} task(s), {params.folds.n_splits} folds x "
            f"{params.folds.n_repeats} repeat(s), models {', '.join(params.members)}. Next: dvc repro"
        )
        for line in preflight(params):
            typer.echo(line)
        if dry_steps:
            from pipeline.checks.dry_run import dry_run  # imports torch: only once params are known to be right

            for line in dry_run(params, n_steps=dry_steps):
                typer.echo(line)


app.command("init")(init_params)


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    from pipeline.params.root import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


@app.command()
def demo(folder: Annotated[Path, typer.Argument()] = Path("data/demo")) -> None:
    """Generate the demo's synthetic competition."""
    from pipeline.data.demo import generate, write_lexicon

    with exit_on_error():
        generate(folder)
        write_lexicon(Path("models/demo_synonyms.txt"))
        typer.echo(f"{folder}: synthetic train.csv, test.csv and sample_submission.csv; models/demo_synonyms.txt")


@app.command()
def show() -> None:
    """Print the scores, and where the submission and the report lie."""
    from pipeline.artifacts.files import read_json
    from pipeline.artifacts.left_out import left_out_text
    from pipeline.artifacts.scores import read_left_out_of_scores, read_scores, submitted
    from pipeline.artifacts.submissions import read_submissions
    from pipeline.number_formats import score
    from pipeline.report.terminal import scores_text

    with exit_on_error():
        scores, metrics = read_scores(), read_json(METRICS)
        audit = read_json(AUDIT) if AUDIT.exists() else {}
        for task, task_scores in scores.items():
            typer.echo(f"\n{scores_text(task, task_scores, audit.get(task))}")
        if len(submitted(scores)) > 1:
            expected = f"{score(metrics['estimate'])}, {score(metrics['low'])} to {score(metrics['high'])}"
            typer.echo(f"\nmean over tasks: {score(metrics['out_of_fold'])}, expected on the test rows {expected}")
        for note in read_left_out_of_scores():
            typer.echo(f"\n{left_out_text(note)}")
        typer.echo()
        for submission in read_submissions().values():
            typer.echo(f"submission  {submission['path']} (predictions of {submission['model']})")
        typer.echo(f"report      {REPORT_PAGE}")


@app.command()
def bundle(
    model: Annotated[str, typer.Option(help="`ensemble`, a stitched model, an encoder or a baseline.")] = "ensemble",
    task: Annotated[str | None, typer.Option(help="Whose model; needed where there are several tasks.")] = None,
    fold: Annotated[int | None, typer.Option(help="Of a single model only this fold of the first repeat.")] = None,
    without: Annotated[str, typer.Option(help="Members to leave out, with commas between them.")] = "",
    purpose: Annotated[
        Literal["folder", "kaggle", "drivendata"], typer.Option("--for", help="Also what surrounds it there.")
    ] = "folder",
    wheels: Annotated[str | None, typer.Option(help="Download wheels for a Python such as cp312.")] = None,
    check_rows: Annotated[
        int, typer.Option(min=0, help="Test rows that it predicts, by itself, before it is named.")
    ] = 16,
    output: Annotated[Path | None, typer.Option(help="By default bundles/<model>[-<task>][-f<fold>].")] = None,
    path: ParamsOption = Path("params.yaml"),
) -> None:
    """Write a model or the ensemble as one folder that predicts raw test files without this project and a network."""
    with exit_on_error():
        params = load_params(path)
        from pipeline.bundle.bundle import write_for  # imports torch: only once params are known to be right
        from pipeline.bundle.terminal import members_text

        if task is None and len(params.tasks) > 1:
            raise ParamsError(f"--task: must be one of {list(params.tasks)}, got none. Name it.")
        of_task = task or next(iter(params.tasks))
        parts = [model, of_task if len(params.tasks) > 1 else None, None if fold is None else f"f{fold}"]
        folder = output or Path("bundles") / "-".join(filter(None, parts))
        left_out = [name for name in without.split(",") if name]
        bundled, ready = write_for(
            purpose, params, folder, wheels=wheels, model=model, task=of_task, fold=fold, without=left_out,
            check_rows=check_rows,
        )  # fmt: skip
        typer.echo(members_text(bundled))
        typer.echo(f"{ready}: {model}. Next: see docs/bundle.md")


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="The folder of a bundle.")],
    input: Annotated[Path, typer.Option(help="Texts: csv, tsv, jsonl, json or parquet.")],
    output: Annotated[Path, typer.Option(help="The csv to write: per row the label and all probabilities.")],
    text_column: Annotated[
        list[str] | None, typer.Option(help="The column of the text, by default `text`; several are joined.")
    ] = None,
    pair_column: Annotated[str | None, typer.Option(help="That of the second text, for a model of pairs.")] = None,
    id_column: Annotated[str | None, typer.Option(help="A column to copy in front.")] = None,
    format: Annotated[
        Literal["csv", "tsv", "jsonl", "json", "parquet"] | None, typer.Option(help="By default by the file's name.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="A name of Python's codecs.")] = "utf-8",
    encoding_errors: Annotated[
        Literal["fail", "replace", "drop_row"], typer.Option(help="Bytes that are no text.")
    ] = "fail",
    header: Annotated[bool, typer.Option(help="Without one columns are positions from 0.")] = True,
    quoting: Annotated[bool, typer.Option(help="Whether csv and tsv fields may be quoted.")] = True,
    separator: Annotated[str | None, typer.Option(help="Between the fields of csv and tsv.")] = None,
    escape: Annotated[str | None, typer.Option(help="What makes a quote or separator an ordinary character.")] = None,
    torn_lines: Annotated[
        Literal["fail", "join"], typer.Option(help="Csv and tsv lines with too few fields.")
    ] = "fail",
) -> None:
    """Predict the texts of a file with a bundle."""
    from pipeline.artifacts.files import write_atomically
    from pipeline.bundle import predict

    with exit_on_error():
        if output.resolve() == input.resolve() or output.resolve().is_relative_to(model.resolve()):
            raise ParamsError(
                f"--output: must be neither the input nor within the model, got {output}. Name another file."
            )
        frame = predict.predict(
            model, input, text_columns=text_column or ["text"], pair_column=pair_column, id_column=id_column,
            format=format, encoding=encoding, encoding_errors=encoding_errors, header=header, quoting=quoting,
            separator=separator, escape=escape, torn_lines=torn_lines,
        )  # fmt: skip
        write_atomically(output, frame.to_csv(index=False).encode("utf-8"))
        typer.echo(f"{output}: {len(frame)} rows")


@app.command()
def validate() -> None:
    """Check the submissions on disk against the samples and the test files once more."""
    from pipeline.submit.submissions import validate_submissions

    with exit_on_error():
        for path in validate_submissions(load_params()):
            typer.echo(f"{path}: accepted")


app.command("submit")(submit)
app.command("board")(board)
app.command("parse")(parse)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show how far the work is: units done, running, interrupted and failed, time left, and the disk they take."""
    from pipeline.checks.status import read_status

    with exit_on_error():
        work = read_status()
        typer.echo(json.dumps(asdict(work), indent=1) if as_json else "\n".join(work.lines()))


@app.command()
def doctor(fix: Annotated[bool, typer.Option("--fix", help="Put right what is found.")] = False) -> None:
    """Find what a kill or a bad disk left behind, and with --fix put it right. What is whole is not computed again."""
    from pipeline.checks.doctor import examine

    with exit_on_error():
        n_found = n_fixed = 0
        for finding in examine():
            done = fix and finding.repair()
            n_found, n_fixed = n_found + 1, n_fixed + done
            typer.echo(f"{finding.path}: {finding.problem}. {'Done' if done else 'To do'}: {finding.remedy}.")
        remedy = "nothing is wrong" if not n_found else "Next: dvc repro" if fix else "Next: stitchfold doctor --fix"
        typer.echo(f"{n_found} found, {n_fixed} put right. {remedy}")
    if n_fixed < n_found:
        raise typer.Exit(MachineError.exit_code)


@app.command()
def verify() -> None:
    """Compute every digest anew, of artifacts, models, units, dvc.lock, DVC's cache, and check the submission once more."""
    from pipeline.checks import verify

    with exit_on_error():
        checked = list(tqdm(verify.verify(), desc="verify", unit=" digests", disable=None))
        wrong = [result for result in checked if result.problem]
        for result in wrong:
            typer.echo(f"{result.path}: {result.text}")
        if wrong:
            raise MachineError(
                f"{wrong[0].path}: all {len(checked)} digests must match, got {len(wrong)} that do not, listed above. "
                "Do for each what its line says.",
                code="E402",
            )
        typer.echo(f"{len(checked)} digests match")


@app.command()
def clean(
    params: Annotated[
        list[Path] | None, typer.Option(help="Further params files, beside params.yaml and competitions/*/params.yaml.")
    ] = None,
    translations: Annotated[
        bool, typer.Option("--translations", help="Also translations by models that no params file names.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, only say what could go.")] = False,
) -> None:
    """List the units that no params file of the tree needs, with the params that made them, and with --yes remove them."""
    from pipeline.checks.clean import judge, remove
    from pipeline.number_formats import size_text
    from pipeline.units.store import disk_usage

    with exit_on_error():
        verdict = judge(params or [], translations=translations)
        typer.echo("\n".join(verdict.lines()))
        total, free = disk_usage([spare.folder for spare in verdict.spare])
        linked = f"; {size_text(total - free)} more are linked from out/ or DVC's cache (dvc gc -w)" * (free < total)
        if not yes:
            count = len(verdict.spare)
            typer.echo(f"{count} can go, which frees {size_text(free)}{linked}. Next: stitchfold clean --yes")
            return
        freed, taken = remove(verdict)
        left = f"; left alone, as somebody writes them: {', '.join(spare.text for spare in taken)}" if taken else ""
        typer.echo(f"{len(verdict.spare) - len(taken)} removed, {size_text(freed)} freed{linked}{left}")


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
