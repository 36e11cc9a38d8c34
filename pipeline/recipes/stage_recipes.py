"""Recipes: for every encoder its resolved settings and the digest of the code they name; for every stage its code.

A stage depends on its recipe instead of on folders of code, so only what reaches it makes it run again. Imports no torch.
"""

from pathlib import Path
from typing import Any

from pipeline import components
from pipeline.params.encoders import Encoder, Pretraining
from pipeline.params.fields import Component
from pipeline.params.root import Params
from pipeline.recipes.fingerprint import code_digests
from pipeline.recipes.source_modules import Definition
from pipeline.recipes.sources import (
    file_digests,
    library_versions,
    named_components,
    source_digest,
    starts_of,
    unit_code,
)
from pipeline.reproducibility import digest

# How often a checkpoint is written changes nothing that comes out; copies stand in the key by themselves.
NOT_IN_KEY = {"checkpoint_seconds": True, "augment": True, "pretrain": {"checkpoint_seconds": True}}
TRAIN_START = ("pipeline.base_models.fold_training", "train_fold")
FURTHER_START = ("pipeline.base_models.further_training", "train_further")
SHARED_START = ("pipeline.base_models.shared_training", "train_shared")
TRAINING_STARTS = {"alone": TRAIN_START, "shared": SHARED_START, "further": FURTHER_START}
PREDICT_START = ("pipeline.base_models.fold_training", "predict_fold")
PRETRAIN_START = ("pipeline.pretrain.pretraining", "pretrain")
STATES_START = ("pipeline.stitch.states", "extract")


def encoder_recipe(params: Params, name: str) -> dict[str, Any]:
    """Return an encoder's recipe.

    `train` and `predict` stand for all that a unit of training or prediction depends on besides rows, seed and machine; of
    an encoder that is trained in several `steps` each has such a digest, and so has its further pre-training, `pretrain`.
    """
    settings = params.encoders[name]
    steps = {step: _training(params, part, TRAINING_STARTS[step]) for step, part in settings.training_steps.items()}
    recipe, training, used = list(steps.values())[-1]
    predicting, train = unit_code(PREDICT_START, used), digest({**recipe, "code": training})
    if len(steps) > 1:
        digests = {step: digest({**part, "code": code}) for step, (part, code, _) in steps.items()}
        recipe |= {"settings": settings_of(settings), "steps": digests}
        train, training = digest(recipe), {name: code for _, codes, _ in steps.values() for name, code in codes.items()}
    if settings.pretrain is not None:
        before, codes = _pretraining(settings, settings.pretrain)
        recipe["pretrain"], training = digest({**before, "code": codes}), {**codes, **training}
    return {
        **recipe,
        "train": train,
        "predict": digest(predicting),
        "code": {**training, **predicting},
        "stage": digest(code_digests([("stages.finetune", "main")])),
        **budget_of(params),
    }


def _training(
    params: Params, settings: Encoder, start: Definition
) -> tuple[dict[str, Any], dict[str, str], list[Component]]:
    """Return what a training's results depend on besides code, the digests of its code, and the components that it uses."""
    used = _used_by(settings)
    metrics = {}
    if settings.epoch_selection == "inner":  # only then a metric has a say in training
        used += [part for task in params.tasks.values() for part in (task.kind, task.metric)]
        metrics = {name: task.metric.model_dump() for name, task in params.tasks.items()}
    recipe = {"settings": settings_of(settings), "source": source_digest(settings.source), "metrics": metrics}
    if libraries := library_versions(part for part in used if part.kind != settings.source.kind):
        recipe["libraries"] = libraries
    return recipe, unit_code(start, used), used


def _used_by(settings: Encoder) -> list[Component]:
    """Return the components that an encoder uses: where it begins at what was pre-trained, what reads that too."""
    begins = [] if settings.pretrain is None else [settings.beginning_at(Path()).source]
    return [*named_components(settings), *begins]


def _pretraining(settings: Encoder, pretraining: Pretraining) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a further pre-training depends on besides texts, seed, machine and code, and the digests of its code."""
    used = [*named_components(pretraining), *settings.source.parts()]
    recipe = {
        "settings": pretraining.model_dump(exclude={"checkpoint_seconds"}), "source": settings.source.model_dump(),
        "max_length": settings.longest_input, "read": [source_digest(component) for component in used],
        "files": [file_digests(Path(file), suffixes=None) for file in pretraining.files],
    }  # fmt: skip
    return recipe, unit_code(PRETRAIN_START, used)


def budget_of(params: Params) -> dict[str, float]:
    """Return the time budget, if there is one, of a stage that may leave something out: another one makes it run again.

    By way of the recipe: DVC demands that a key stands in params.yaml on which a stage depends, also where it is null.
    """
    return {} if params.run.budget_hours is None else {"budget_hours": params.run.budget_hours}


def settings_of(settings: Encoder) -> dict[str, Any]:
    """Return the settings that decide an encoder's results, as JSON."""
    return settings.model_dump(exclude=NOT_IN_KEY)


def stage_recipe(params: Params, stage: str) -> dict[str, Any]:
    """Return the digests of the code of a stage and of the components that it may load; of each baseline by itself."""
    sections: dict[str, Any] = {
        "baseline": params.baselines,
        "augment": params.augment,
        "stitch": [params.stitch, params.tasks],
        "stack": [params.stack, params.tasks],
        "submit": params.tasks,
        "report": [params.stack, params.tasks],
    }
    # Every stage reads targets or predictions.
    starts = [(f"stages.{stage}", "main"), *starts_of([*kinds_of(params), *named_components(sections.get(stage))])]
    if stage == "stack":
        single = components.having("stackers", "KEEPS_SINGLE")  # the ladder of a single member
        starts += [(components.module_of("stackers", name), "build") for name in single]
        read = [
            (task.metric, name) for task in params.tasks.values() for name in ("BOUNDS", "NEEDED_ERRORS", "ORDERS_ROWS")
        ]
        starts += [
            (components.module_of("metrics", metric.name), name) for metric, name in read if metric.constant(name)
        ]
    recipe: dict[str, Any] = {"code": code_digests(starts)}
    if stage == "augment":
        recipe |= _augment_digests(params)
    if stage == "stitch":
        recipe |= _stitch_digests(params) | budget_of(params)
    if stage == "baseline":
        fit = ("pipeline.base_models.baselining", "fit_and_predict")
        recipe["units"] = {name: digest(unit_code(fit, [baseline])) for name, baseline in params.baselines.items()}
        recipe |= {"submits": True} if budget_of(params) else {}
    return recipe


def kinds_of(params: Params) -> list[Component]:
    """Return the kinds of the tasks."""
    return [task.kind for task in params.tasks.values()]


def _augment_digests(params: Params) -> dict[str, Any]:
    """Return the digests of the code and files of each step, and of the code that finds flipped labels."""
    quality = params.augment.quality
    steps = []
    for step in params.augment.steps:
        used = list(named_components([step, quality.similarity] if quality.similarity else step))
        files = [source_digest(component) for component in used]
        if step.guide is not None and step.guide.model is not None:
            files.append(file_digests(Path(step.guide.model)))
        steps.append(digest([unit_code(("pipeline.augment.shard_copies", "make_copies"), used), files]))
    flips = unit_code(("pipeline.augment.screening", "find_flips"), [quality.flip_model, *kinds_of(params)])
    return {"steps": steps, "flips": digest(flips)}


def _stitch_digests(params: Params) -> dict[str, dict[str, str]]:
    """Return the digests of the code that computes each encoder's states and that trains and applies each head."""
    states = {
        name: digest([unit_code(STATES_START, _used_by(settings)), source_digest(settings.source)])
        for name, settings in params.encoders.items()
    }
    settings = params.stitch
    inner = settings.epoch_selection == "inner"
    metrics = [part for task in params.tasks.values() for part in (task.kind, task.metric) if inner]
    training = [settings.loss, settings.class_weights, settings.objective, settings.optimizer, settings.schedule]
    training += [settings.averaging, settings.adversarial]
    common = [*named_components([settings.fusion, *training]), *metrics]
    recipe: dict[str, dict[str, str]] = {"states": states, "train": {}, "predict": {}}
    for name, head in settings.heads.items():
        used = [*common, head, *filter(None, [settings.pooling_of(head)])]
        training_code = unit_code(("pipeline.stitch.fold_training", "train_stitched"), used)
        libraries = library_versions(used)
        recipe["train"][name] = digest([training_code, libraries] if libraries else training_code)
        recipe["predict"][name] = digest(unit_code(("pipeline.stitch.fold_training", "predict_stitched"), used))
    return recipe
