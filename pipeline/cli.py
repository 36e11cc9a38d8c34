"""The command `stitchfold`: check params, print their schema, make the demo's data, show and validate what came out."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.exceptions import exit_on_error

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
ParamsOption = Annotated[Path, typer.Option("--params", help="The params file.")]


@app.command()
def check(path: ParamsOption = Path("params.yaml")) -> None:
    """Check params.yaml: all errors at once, each with its line and a remedy."""
    from pipeline.params import load_params

    with exit_on_error():
        params = load_params(path)
        typer.echo(
            f"{path}: fine. Competition {params.competition}: {len(params.tasks)} task(s), {params.folds.n_splits} folds x "
            f"{params.folds.n_repeats} repeat(s), models {', '.join(params.members)}. Next: dvc repro"
        )


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    import json

    from pipeline.params import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


@app.command()
def demo(folder: Annotated[Path, typer.Argument()] = Path("data/demo")) -> None:
    """Generate the demo's synthetic competition."""
    from pipeline.demo import generate

    with exit_on_error():
        generate(folder)
        typer.echo(f"{folder}: synthetic train.csv, test.csv and sample_submission.csv")


@app.command()
def show() -> None:
    """Print the scores, and where the submission and the report lie."""
    from pipeline import artifacts

    with exit_on_error():
        scores, metrics = artifacts.read_json(artifacts.SCORES)["tasks"], artifacts.read_json(artifacts.METRICS)
        for task, found in scores.items():
            typer.echo(f"\n{task}: {found['metric']}, out-of-fold, 95 % interval")
            for model in found["models"]:
                interval = f"[{model['low']:.4f}, {model['high']:.4f}]"
                typer.echo(f"  {model['kind']:<9}{model['name']:<18}{model['score']:.4f}  {interval}")
            estimate, tuned = found["estimate"], (found["decision"] or {}).get("used")
            how = f"{found['chosen']}{', decision tuned' if tuned else ''}; chosen anew for every fold"
            typer.echo(f"  estimate of the ensemble ({how}): {estimate['score']:.4f}")
            typer.echo(f"  expected on the test rows: {estimate['test_low']:.4f} to {estimate['test_high']:.4f}")
        if len(scores) > 1:
            low, high = metrics["low"], metrics["high"]
            typer.echo(
                f"\nmean over tasks: {metrics['estimate']:.4f}, expected on the test rows {low:.4f} to {high:.4f}"
            )
        submission = artifacts.read_json(artifacts.SUBMIT / "submission.json")
        typer.echo(f"\nsubmission  {submission['path']} (predictions of {submission['model']})")
        typer.echo(f"report      {artifacts.REPORT / 'report.html'}")


@app.command()
def validate() -> None:
    """Check the submission on disk against the sample and the test file once more."""
    from pipeline.params import load_params
    from pipeline.submitting import validate_submission

    with exit_on_error():
        path = validate_submission(load_params())
        typer.echo(f"{path}: accepted")


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
