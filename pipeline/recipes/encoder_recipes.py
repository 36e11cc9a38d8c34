"""An encoder's recipe: its resolved settings and the digests of the code that they name."""

from typing import Any

from pipeline.params.encoders import Encoder
from pipeline.params.root import Params
from pipeline.recipes.fingerprint import code_digests
from pipeline.recipes.sources import named_components, source_digest, unit_code
from pipeline.reproducibility import digest

# How often a checkpoint is written changes nothing that comes out; copies stand in the key by themselves.
NOT_IN_KEY = {"checkpoint_seconds", "augment"}
TRAIN_START = ("pipeline.base_models.fold_training", "train_fold")
PREDICT_START = ("pipeline.base_models.fold_training", "predict_fold")


def encoder_recipe(params: Params, name: str) -> dict[str, Any]:
    """Return an encoder's recipe.

    `train` and `predict` stand for all that a unit of training or prediction depends on besides rows, seed and machine.
    """
    settings = params.encoders[name]
    used = list(named_components(settings))
    metrics = {}
    if settings.epoch_selection == "inner":  # only then a metric has a say in training
        used += [part for task in params.tasks.values() for part in (task.kind, task.metric)]
        metrics = {name: task.metric.model_dump() for name, task in params.tasks.items()}
    training, predicting = (unit_code(start, used) for start in (TRAIN_START, PREDICT_START))
    recipe = {"settings": settings_of(settings), "source": source_digest(settings.source), "metrics": metrics}
    return {
        **recipe,
        "train": digest({**recipe, "code": training}),
        "predict": digest(predicting),
        "code": {**training, **predicting},
        "stage": digest(code_digests([("stages.finetune", "main")])),
    }


def settings_of(settings: Encoder) -> dict[str, Any]:
    """Return the settings that decide an encoder's results, as JSON."""
    return settings.model_dump(exclude=NOT_IN_KEY)
