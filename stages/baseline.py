"""Stage `baseline`: table and folds -> out/baseline/<name>/<task>.parquet."""

from pipeline import artifacts
from pipeline.baselining import run_baseline
from pipeline.declared_inputs import declared_inputs
from pipeline.params import load_params
from pipeline.paths import OUT, predictions_path, stage_recipe_path
from pipeline.stage_run import exit_on_error


def main() -> None:
    """Fit every baseline over all folds and write its predictions."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        table, folds = artifacts.read_table(), artifacts.read_folds()
        recipe = artifacts.read_json(stage_recipe_path("baseline"))
        (OUT / "baseline").mkdir(parents=True, exist_ok=True)
        for name, baseline in params.baselines.items():
            predictions = run_baseline(
                name, table, folds, baseline=baseline, recipe=recipe, seed=params.seed, run=params.run
            )
            for task, part in predictions.items():
                artifacts.write_predictions(part, predictions_path("baseline", name, task))


if __name__ == "__main__":
    main()
