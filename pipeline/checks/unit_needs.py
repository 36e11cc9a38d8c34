"""What is still to be computed, and the disk and memory it needs: per encoder and for the stitched models.

Estimates from params.yaml, the headers of checkpoints and the unit store; nothing is built, torch is not imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params.encoders import Encoder, Training
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.params.stitch import Stitch
from pipeline.reproducibility import fold_seed, pretraining_seed, shared_fold
from pipeline.units import devices
from pipeline.units.notes import read_unit_note
from pipeline.units.store import STORE

if TYPE_CHECKING:
    from pipeline.artifacts.table import Folds  # imports pandas

BYTES_PER_WEIGHT = 4
OPTIMIZER_STATES = 2  # values that AdamW keeps of each weight
GENERATIONS = 3  # of checkpoints: two, and the one being written
WORKER_BYTES = 500_000_000  # a process with torch and transformers, measured
HEAD_WEIGHTS = 2048  # per value of a state: those of a bilstm of 256 units, a large head
UNKNOWN_WIDTH = 1024
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Need:
    """What is still to be computed of one encoder or of the stitched models; sizes in bytes, None where not known.

    `model` is what each unit keeps, `checkpoints` what the running ones hold meanwhile, `memory` what each worker takes
    besides the states of the texts.
    """

    name: str
    n_units: int
    n_done: int
    model: int | None
    checkpoints: int | None
    memory: int | None

    @property
    def n_open(self) -> int:
        """Return how many units are still to be computed."""
        return self.n_units - self.n_done

    @property
    def kept(self) -> int:
        """Return the bytes of the models still to be written."""
        return self.n_open * (self.model or 0)

    @property
    def passing(self) -> int:
        """Return the bytes that are needed until the last of them is written."""
        return (self.checkpoints or 0) if self.n_open else 0


def encoder_needs(
    name: str, settings: Encoder, places: Sequence[Place], *, run: Run, seed: int, recipe: Mapping[str, Any]
) -> list[Need]:
    """Return what the fold models of an encoder need, of its further pre-training and of each of its `training_steps`.

    Args:
        name: of the encoder, like `settings`.
        places: task, repeat and fold of its models.
        run: how many work at once.
        seed: of the whole run.
        recipe: by whose digests finished models are found in the unit store; empty: there are none.
    """
    weights = settings.source.call("n_parameters", max_length=settings.longest_input)
    if weights is not None:
        weights += HEAD_WEIGHTS * state_width(settings.source)
    finished, several = finished_units("finetune"), len(settings.training_steps) > 1
    needs: list[Need] = []
    tasks = list(dict.fromkeys(task for task, *_ in places))
    if (before := settings.pretrain) is not None:
        of_folds = dict.fromkeys((repeat, fold) if before.per_fold else None for _, repeat, fold in places)
        made, digest = finished_units("pretrain"), recipe.get("pretrain")
        n_done = sum((digest, pretraining_seed(seed, place)) in made for place in of_folds)
        needs.append(_need(f"{name}, pretrain", len(of_folds), n_done, weights, before.training, run))
    for step, part in settings.training_steps.items():
        own, of_unit, n_models = list(places), weights, 1
        if step == "shared":  # a unit leaves a model of each task
            n_models = len(tasks)
            if weights is not None and part.sharing.constant("ENCODERS") == "each":
                of_unit, n_models = weights * n_models, 1  # all are trained, and kept, side by side
            own = list(dict.fromkeys(shared_fold(tasks, repeat, fold) for _, repeat, fold in places))
        digest = recipe.get("steps", {}).get(step, recipe.get("train"))
        n_done = sum((digest, fold_seed(seed, fold)) in finished for fold in own)
        named = f"{name}, {step}" if several else name
        needs.append(_need(named, len(own), n_done, of_unit, part, run, n_models=n_models))
    return needs


def stitch_need(
    settings: Stitch,
    encoders: Mapping[str, Encoder],
    places: Sequence[Place],
    *,
    run: Run,
    seed: int,
    recipes: Mapping[str, str],
) -> Need:
    """Return what the stitched models need; `recipes` has the digest of each head, the others are as in `encoder_needs`."""
    widths = {name: state_width(encoder.source) for name, encoder in encoders.items()}
    models, groups = settings.models(list(encoders)), settings.groups(list(encoders))
    finished = finished_units("stitch")
    n_done, largest = 0, 0
    for name, (group, _) in models.items():
        # Each fold chooses the members of `pairs: {best: n}` by its own scores: until then the widest two are assumed.
        members = groups[group] or sorted(encoders, key=lambda encoder: -widths[encoder])[:2]
        largest = max(largest, HEAD_WEIGHTS * sum(widths[member] for member in members))
        head = name.removeprefix(f"{group}+")
        if groups[group]:
            n_done += sum((recipes.get(head), fold_seed(seed, fold, *members, head)) in finished for fold in places)
    if settings.unfreeze:
        sizes = [encoder.source.call("n_parameters", max_length=encoder.longest_input) for encoder in encoders.values()]
        largest += 2 * max(size or 0 for size in sizes)
    return _need("stitched", len(models) * len(places), n_done, largest, settings, run)


def state_width(source: Component) -> int:
    """Return the width of an encoder's states; a large one where nothing on this machine says so."""
    return source.call("state_shape")[1] or UNKNOWN_WIDTH


def _need(
    name: str, n_units: int, n_done: int, weights: int | None, settings: Training, run: Run, *, n_models: int = 1
) -> Need:
    if weights is None:
        return Need(name, n_units, n_done, None, None, None)
    model = BYTES_PER_WEIGHT * weights
    kept = int(settings.epoch_selection == "inner")  # the weights of the best epoch stand beside the last ones
    kept += sum(part.constant("KEEPS") or 0 for part in settings.optimizer.parts())  # slow weights
    if settings.averaging is not None:
        kept += (
            settings.epochs if settings.averaging.constant("NEEDS_SCORES") else 1
        )  # an average, or each epoch's weights
    generations = GENERATIONS + (settings.not_finite == "rollback")
    checkpoints = min(worker_count(run), n_units - n_done) * generations * (1 + OPTIMIZER_STATES + kept) * model
    memory = WORKER_BYTES + (2 + OPTIMIZER_STATES + kept) * model  # weights, gradients, optimizer
    return Need(name, n_units, n_done, n_models * model, checkpoints, memory)


def finished_units(step: str) -> set[tuple[str, int]]:
    """Return recipe and seed of the finished units of a step in the unit store."""
    notes = [read_unit_note(result.parent) for result in STORE.glob("*/result")]
    return {(note["recipe"], note["seed"]) for note in notes if note.get("step") == step}


def worker_count(run: Run) -> int:
    """Return how many units run at once, as `devices` counts them but without torch."""
    n_gpus = 0 if run.device == "cpu" else len(list(Path("/dev").glob("nvidia[0-9]*")))
    return devices.worker_count(run, n_gpus=n_gpus)


def places_of(folds: "Folds") -> list[Place]:
    """Return task, repeat and fold of all models of a fold manifest."""
    rows = folds.rows.loc[folds.rows["fold"] >= 0, ["task", "repeat", "fold"]].drop_duplicates()
    return [(str(task), int(repeat), int(fold)) for task, repeat, fold in rows.itertuples(index=False)]
