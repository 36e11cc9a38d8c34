"""One fold's model of all tasks: built, trained over their rows together, and saved as one model for each task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.artifacts.files import write_manifest
from pipeline.artifacts.histories import HISTORY
from pipeline.base_models.fold_training import Learner, build_learner, fold_rows, new_encoder
from pipeline.contracts import EncoderParts
from pipeline.data.fold_jobs import raw_texts
from pipeline.models.classifier import Readout, encoder_half, load_classifier
from pipeline.multitask.batches import batches_over_tasks, check_batches
from pipeline.multitask.objective import MultiTask
from pipeline.multitask.shared_model import SharedModel
from pipeline.multitask.task_weights import TaskGradient, TaskWeights
from pipeline.params.encoders import Encoder
from pipeline.reproducibility import derive_seed
from pipeline.training.epoch_choice import EpochScorer
from pipeline.training.fold_trainer import Trainee, train_in_place
from pipeline.training.gradient import plain
from pipeline.training.parameter_groups import count_layers, layer_of, parameter_groups
from pipeline.training.plug_ins import plug_ins
from pipeline.training.pretrained_weights import regularise
from pipeline.training.scheduling import check_schedule
from pipeline.training.thawing import freeze_lowest
from pipeline.training.weights import mean_of
from pipeline.units.execution import Workspace


@dataclass(frozen=True)
class TaskRows:
    """A task's part of a fold; the fields are as in `build_trainee`, `settings` and `seed` those of the task."""

    rows: pd.DataFrame
    settings: Encoder
    n_outputs: int
    scorer: EpochScorer | None
    seed: int
    labels: list[str]
    copies: pd.DataFrame | None = None


def build_shared_trainee(
    tasks: Mapping[str, TaskRows], *, settings: Encoder, seed: int, starts: Sequence[Path] = ()
) -> tuple[Trainee, dict[str, Learner]]:
    """Build one fold's model of several tasks, and say what it is for each of them.

    `seed` is that of the whole model; `starts` are folders of the fold's models at the average of whose encoders it begins.
    """
    chosen = {task: fold_rows(part.rows, settings, seed=part.seed, copies=part.copies) for task, part in tasks.items()}
    counts = [len(rows.fitted) for rows in chosen.values()]
    check_schedule(settings, sum(counts))
    check_batches(counts, batch_size=settings.batch_size)
    longest = max(part.settings.longest_input for part in tasks.values())
    texts = [text for part in tasks.values() for text in raw_texts(part.rows)]
    make = partial(_begun, settings, starts, texts=texts, max_length=longest, seed=seed)
    parts = make()
    learners = {}
    for number, (task, part) in enumerate(tasks.items()):
        if number and settings.sharing.constant("ENCODERS") == "each":
            parts = make()
        readout_seed = derive_seed(seed, "readout of", task)
        learners[task] = build_learner(
            parts, chosen[task], settings=part.settings, n_outputs=part.n_outputs, labels=part.labels, scorer=part.scorer,
            seed=readout_seed,
        )  # fmt: skip
    return _trainee(learners, settings, seed=seed), learners


def _begun(settings: Encoder, starts: Sequence[Path], **offered: Any) -> EncoderParts:
    """Return a new encoder, at the average of the encoders of models if there are any that began at the same weights.

    Source: Wortsman et al., Model soups, 2022, https://arxiv.org/abs/2203.05482; Matena and Raffel, Merging Models with
    Fisher-Weighted Averaging, 2022, section 3.1 (without Fisher's weights), https://arxiv.org/abs/2111.09832
    """
    parts = new_encoder(settings, **offered)
    if starts:
        states = [load_classifier(folder)[0].backbone.state_dict() for folder in starts]
        encoder_half(parts.model).load_state_dict(mean_of(states))
    return parts


def _trainee(learners: Mapping[str, Learner], settings: Encoder, *, seed: int) -> Trainee:
    weighting: TaskWeights = settings.task_weighting.build(tasks=list(learners))
    models = {task: learner.model for task, learner in learners.items()}
    torch.manual_seed(derive_seed(seed, "penalty"))
    width = next(iter(models.values())).backbone.config.get_text_config().hidden_size
    penalty = settings.sharing.build(tasks=list(learners), hidden_size=width)
    model = SharedModel(models, penalty, weighting=weighting)
    regularised: set[int] = set()
    for classifier in model.classifiers.values():
        if isinstance(classifier.readout, Readout):
            classifier.readout.dropout_samples = settings.dropout_samples
        if id(classifier.backbone) not in regularised:
            regularised.add(id(classifier.backbone))
            regularise(classifier, settings, seed=derive_seed(seed, "reinit"))
            if settings.frozen_layers is not None:
                freeze_lowest(classifier.backbone, settings.frozen_layers)
    beside = [weighting, *([penalty] if isinstance(penalty, nn.Module) else [])]
    groups = parameter_groups(model.backbones, nn.ModuleList([*model.readouts, *beside]), settings)
    objective = MultiTask({task: learner.labelled for task, learner in learners.items()})
    shared = [parameter for parameter in model.backbones.parameters() if parameter.requires_grad]
    plugged = plug_ins(settings, groups)
    within = plugged.get("gradient", plain)
    way = TaskGradient(weighting, shared=shared, last=_last_layer(model.backbones[0]), within=within)
    counts = {task: len(learner.labelled.lengths) for task, learner in learners.items()}
    order = batches_over_tasks(counts, settings.task_batches, epochs=settings.epochs)
    plugged |= {"gradient": way, "hooks": [way, *plugged["hooks"]], "order": order}
    return Trainee(model, groups, objective, _evaluation(learners), settings, seed, _nothing, {}, plugged)


def _last_layer(backbone: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the topmost layer that learns."""
    named = [(name, parameter) for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    n_layers = count_layers(backbone, learning=True)
    return [parameter for name, parameter in named if layer_of(name, n_layers) == n_layers]


def _evaluation(learners: Mapping[str, Learner]) -> Any:
    """Return what scores an epoch: the mean of the tasks' scores on their inner rows; None where the last one is kept."""
    if any(learner.evaluate is None for learner in learners.values()):
        return None

    def evaluate(model: nn.Module) -> float:
        return float(np.mean([learner.evaluate(learner.model) for learner in learners.values() if learner.evaluate]))

    return evaluate


def _nothing(folder: Path) -> None:
    """Save nothing: each task's model is saved by itself."""


def train_shared(
    workspace: Workspace, *, tasks: Mapping[str, TaskRows], settings: Encoder, seed: int, starts: Sequence[Path] = ()
) -> None:
    """Train one fold's model of all tasks and write each task's, with its history, into a folder of the result.

    A task's share of the tokens and seconds is that of its rows' tokens.
    """
    trainee, learners = build_shared_trainee(tasks, settings=settings, seed=seed, starts=starts)
    history = asdict(train_in_place(workspace, trainee))
    n_tokens = {task: int(learner.labelled.lengths.sum()) for task, learner in learners.items()}
    curve = trainee.plugged["gradient"].curve if trainee.plugged else []
    for task, learner in learners.items():
        folder = workspace.result / task
        folder.mkdir()
        learner.save(folder)
        share = n_tokens[task] / sum(n_tokens.values())
        own = {"n_tokens": round(share * history["n_tokens"]), "seconds": share * history["seconds"]}
        record = {**history, **own, **learner.counts, "task_weights": curve}
        (folder / HISTORY).write_text(json.dumps(record), encoding="utf-8")
        write_manifest(folder, sorted(path for path in folder.iterdir() if path.is_file()))
