"""Stage `baseline`: table and folds -> out/baseline/<name>/<task>.parquet; under a time budget a submission."""

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import FIRST_SUBMISSION, OUT, predictions_path, stage_recipe_path
from pipeline.artifacts.predictions import write_predictions
from pipeline.artifacts.table import read_folds, read_table
from pipeline.base_models.baselining import run_baseline
from pipeline.stage_run import stage_run
from pipeline.submit.first_submission import submit_best


def main() -> None:
    """Fit every baseline over all folds and write its predictions."""
    with stage_run() as params:
        table, folds = read_table(), read_folds()
        recipe = read_json(stage_recipe_path("baseline"))
        (OUT / "baseline").mkdir(parents=True, exist_ok=True)
        common = {"recipe": recipe, "seed": params.seed, "run": params.run}
        made = {}
        for name, baseline in params.baselines.items():
            made[name] = run_baseline(name, table, folds, baseline=baseline, **common)
            for task, part in made[name].items():
                write_predictions(part, predictions_path("baseline", name, task))
        if "submits" in recipe:  # time is short: whatever happens later, there is something to upload
            submit_best(params, table, folds, made, folder=FIRST_SUBMISSION)


if __name__ == "__main__":
    main()
