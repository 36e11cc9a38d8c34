"""Stage `recipes`: params and code -> out/recipes, one small file per encoder and per stage."""

from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import encoder_recipe_path, stage_recipe_path
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.stage_run import stage_run

STAGES = ("prepare", "split", "augment", "baseline", "stitch", "stack", "submit", "report")


def main() -> None:
    """Write all recipes."""
    with stage_run() as params:
        for name in params.encoders:
            write_json(encoder_recipe_path(name), encoder_recipe(params, name))
        for stage in STAGES:
            write_json(stage_recipe_path(stage), stage_recipe(params, stage))


if __name__ == "__main__":
    main()
