"""Stage augment: table, folds and params -> copies of training rows, and where they may not serve."""

from pipeline import artifacts
from pipeline.augmenting import augment
from pipeline.declared_inputs import declared_inputs
from pipeline.params import load_params
from pipeline.paths import stage_recipe_path
from pipeline.stage_run import exit_on_error


def main() -> None:
    """Make the copies of all steps."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        recipe = artifacts.read_json(stage_recipe_path("augment"))
        augment(params, artifacts.read_table(), artifacts.read_folds(), recipe=recipe)


if __name__ == "__main__":
    main()
