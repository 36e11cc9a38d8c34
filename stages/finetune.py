"""Stage `finetune@<encoder>`: table, folds and the encoder's recipe -> out/finetune/<encoder>."""

import sys

from pipeline import artifacts
from pipeline.copies import read_copies
from pipeline.exceptions import DataError, ParamsError, exit_on_error
from pipeline.params import load_params
from pipeline.recipes import settings_of


def main() -> None:
    """Fine-tune one encoder over all folds and write models, predictions and history."""
    with exit_on_error():
        params = load_params()
        encoder = sys.argv[1] if len(sys.argv) > 1 else ""
        if encoder not in params.encoders:
            raise ParamsError(
                f"stages.finetune: must be given one of the encoders {list(params.encoders)}, got {encoder!r}."
            )
        settings = params.encoders[encoder]
        recipe = artifacts.read_json(artifacts.encoder_recipe_path(encoder))
        if recipe["settings"] != settings_of(settings):
            raise DataError(
                f"{artifacts.encoder_recipe_path(encoder)}: is older than params.yaml. Run dvc repro recipes."
            )
        from pipeline.finetuning import finetune  # imports torch: only once params are known to be right

        folds = artifacts.read_folds()
        finetune(
            encoder,
            artifacts.read_table(),
            folds,
            settings=settings,
            recipe=recipe,
            metrics={name: task.metric for name, task in params.tasks.items()},
            seed=params.seed,
            run=params.run,
            folder=artifacts.OUT / "finetune" / encoder,
            copies=read_copies(manifest=folds.digest),
        )


if __name__ == "__main__":
    main()
