"""Stage `finetune@<encoder>`: table, folds and the encoder's recipe -> out/finetune/<encoder>."""

import sys
from typing import Any

from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import OUT, encoder_recipe_path, left_out_path
from pipeline.artifacts.table import read_folds, read_table
from pipeline.checks.preflight import check_stage
from pipeline.checks.unit_needs import encoder_needs, places_of
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.recipes.stage_recipes import settings_of
from pipeline.stage_run import stage_run
from pipeline.units.budget import budget_for, leaving_out


def main() -> None:
    """Fine-tune one encoder over all folds and write models, predictions and history."""
    with stage_run() as params:
        encoder = sys.argv[1] if len(sys.argv) > 1 else ""
        if encoder not in params.encoders:
            raise ParamsError(
                f"stages.finetune: needs an encoder, one of {list(params.encoders)}, got {encoder!r}. Name one of them."
            )
        settings = params.encoders[encoder]
        recipe = read_json(encoder_recipe_path(encoder))
        if recipe["settings"] != settings_of(settings):
            raise DataError(f"{encoder_recipe_path(encoder)}: is older than params.yaml. Run dvc repro recipes.")
        folds = read_folds()
        common: Any = {"run": params.run, "seed": params.seed}
        needs = encoder_needs(encoder, settings, places_of(folds), **common, recipe=recipe)
        check_stage(needs)
        table, n_later = read_table(), len(params.encoders) - list(params.encoders).index(encoder)
        budget = budget_for(recipe.get("budget_hours"), table, n_stages=n_later, n_models=len(params.members))
        with leaving_out([encoder], left_out_path("finetune", encoder), budget):
            budget.refuse_late(sum(need.n_open for need in needs))
            from pipeline.base_models.finetuning import finetune  # imports torch: only once all is known to be right

            finetune(
                encoder,
                table,
                folds,
                settings=settings,
                recipe=recipe,
                metrics={name: task.metric for name, task in params.tasks.items()},
                folder=OUT / "finetune" / encoder,
                copies=read_copies(manifest=folds.digest),
                budget=budget,
                **common,
            )


if __name__ == "__main__":
    main()
