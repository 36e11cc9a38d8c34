"""Stage `stitch`: the fold models of all encoders -> out/stitch, one folder per stitched model."""

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import OUT, stage_recipe_path
from pipeline.artifacts.table import read_folds, read_table
from pipeline.checks.preflight import check_stage
from pipeline.checks.unit_needs import places_of, stitch_need
from pipeline.stage_run import stage_run


def main() -> None:
    """Stitch all pairs under all heads over all folds."""
    with stage_run() as params:
        folds = read_folds()
        recipe = read_json(stage_recipe_path("stitch"))
        common = {"run": params.run, "seed": params.seed, "recipes": recipe["train"]}
        check_stage(stitch_need(params.stitch, params.encoders, places_of(folds), **common))
        from pipeline.stitch.stitching import stitch  # imports torch: only once params are known to be right

        stitch(params, read_table(), folds, recipe=recipe, folder=OUT / "stitch")


if __name__ == "__main__":
    main()
