"""Stage augment: table, folds and params -> copies of training rows, and where they may not serve."""

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import stage_recipe_path
from pipeline.artifacts.table import read_folds, read_table
from pipeline.augment.augmenting import augment
from pipeline.stage_run import stage_run


def main() -> None:
    """Make the copies of all steps."""
    with stage_run() as params:
        recipe = read_json(stage_recipe_path("augment"))
        augment(params, read_table(), read_folds(), recipe=recipe)


if __name__ == "__main__":
    main()
