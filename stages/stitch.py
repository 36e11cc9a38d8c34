"""Stage `stitch`: the fold models of all encoders -> out/stitch, one folder per stitched model."""

from pipeline import artifacts
from pipeline.declared_inputs import declared_inputs
from pipeline.params import load_params
from pipeline.paths import OUT, stage_recipe_path
from pipeline.preflight import check_stage
from pipeline.stage_run import exit_on_error
from pipeline.unit_needs import places_of, stitch_need


def main() -> None:
    """Stitch all pairs under all heads over all folds."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        folds = artifacts.read_folds()
        recipe = artifacts.read_json(stage_recipe_path("stitch"))
        common = {"run": params.run, "seed": params.seed, "recipes": recipe["train"]}
        check_stage(stitch_need(params.stitch, params.encoders, places_of(folds), **common))
        from pipeline.stitching import stitch  # imports torch: only once params are known to be right

        stitch(
            params,
            artifacts.read_table(),
            folds,
            recipe=recipe,
            folder=OUT / "stitch",
        )


if __name__ == "__main__":
    main()
