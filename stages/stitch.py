"""Stage `stitch`: the fold models of all encoders -> out/stitch, one folder per stitched model."""

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import OUT, left_out_path, stage_recipe_path
from pipeline.artifacts.table import read_folds, read_table
from pipeline.checks.preflight import check_stage
from pipeline.checks.unit_needs import places_of, stitch_need
from pipeline.stage_run import stage_run
from pipeline.units.budget import budget_for, leaving_out, without_left_out


def main() -> None:
    """Stitch all pairs under all heads over all folds."""
    with stage_run() as params:
        folds = read_folds()
        recipe = read_json(stage_recipe_path("stitch"))
        common = {"run": params.run, "seed": params.seed, "recipes": recipe["train"]}
        params = without_left_out(params, stitched=False)
        need = stitch_need(params.stitch, params.encoders, places_of(folds), **common)
        check_stage([need])
        table, groups = read_table(), list(params.stitch.groups(list(params.encoders)))
        budget = budget_for(recipe.get("budget_hours"), table, n_stages=0, n_models=len(params.members))
        with leaving_out(groups, left_out_path("stitch"), budget):
            budget.refuse_late(need.n_open)
            (OUT / "stitch").mkdir(parents=True, exist_ok=True)
            if groups:
                from pipeline.stitch.stitching import stitch  # imports torch: only once params are known to be right

                stitch(params, table, folds, recipe=recipe, folder=OUT / "stitch", budget=budget)


if __name__ == "__main__":
    main()
