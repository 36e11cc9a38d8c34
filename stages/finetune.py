"""Stage `finetune@<encoder>`: table, folds and the encoder's recipe -> out/finetune/<encoder>."""

import sys

from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import OUT, encoder_recipe_path
from pipeline.artifacts.table import read_folds, read_table
from pipeline.checks.preflight import check_stage
from pipeline.checks.unit_needs import encoder_need, places_of
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.recipes.stage_recipes import settings_of
from pipeline.stage_run import stage_run


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
        places = places_of(folds)
        check_stage(encoder_need(encoder, settings, places, run=params.run, seed=params.seed, recipe=recipe["train"]))
        from pipeline.base_models.finetuning import finetune  # imports torch: only once params are known to be right

        finetune(
            encoder,
            read_table(),
            folds,
            settings=settings,
            recipe=recipe,
            metrics={name: task.metric for name, task in params.tasks.items()},
            seed=params.seed,
            run=params.run,
            folder=OUT / "finetune" / encoder,
            copies=read_copies(manifest=folds.digest),
        )


if __name__ == "__main__":
    main()
