"""What a bundle takes from `out/`: each member's fold models, checked to be those of the params and rows that are here."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import MEND, is_whole, read_json
from pipeline.artifacts.histories import HISTORY, UnitRecord, place_of, read_history
from pipeline.artifacts.paths import OUT, predictions_path, stage_recipe_path
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.fold_jobs import FoldJob, fold_jobs, targets_of
from pipeline.errors.exceptions import DataError, MachineError, ParamsError
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe
from pipeline.stitch.fold_encoders import fold_base, head_rows
from pipeline.stitch.fold_training import SPEC
from pipeline.stitch.plan import Context, plan_model
from pipeline.stitch.states import Base
from pipeline.submit.submissions import samples_of

AGREEMENT = 1e-5


@dataclass(frozen=True)
class FoldSource:
    """One fold of a model: the folder of what was trained, and its encoders, the frame first; a baseline has neither."""

    job: FoldJob
    folder: Path | None = None
    bases: tuple[Base, ...] = ()


@dataclass(frozen=True)
class Sources:
    """Where the models of one task are looked up."""

    params: Params
    task: str
    table: Table
    folds: Folds
    fold: int | None = None

    @cached_property
    def jobs(self) -> list[FoldJob]:
        """Return the task's folds, or only the one that was asked for, of the first repeat.

        Raises:
            ParamsError: if there is no such fold.
        """
        jobs = [job for job in fold_jobs(self.table, self.folds, seed=self.params.seed) if job.task == self.task]
        if self.fold is None:
            return jobs
        numbers = [job.fold for job in jobs if job.repeat == 0]
        if self.fold not in numbers:
            raise ParamsError(f"--fold: must be one of {numbers}, got {self.fold}. Leave it out to take all of them.")
        return [job for job in jobs if (job.repeat, job.fold) == (0, self.fold)]

    def predictions(self, model: str) -> Predictions:
        """Return what a model predicted.

        Raises:
            DataError: if it is not computed, or was over other folds.
        """
        path = predictions_path(self.params.stages[model], model, self.task)
        if not path.is_file():
            raise DataError(f"{path}: the model is not computed yet. Run dvc repro.")
        return read_predictions(path, manifest=self.folds.digest)

    def fold_models(self, model: str) -> list[FoldSource]:
        """Return a member's fold models after checking all of them; nothing large is read yet.

        Raises:
            DataError: if it is not computed, or made with other params, rows or encoders.
            MachineError: if a part is missing or damaged.
        """
        predictions, stage = self.predictions(model), self.params.stages[model]
        if stage == "baseline":
            return [FoldSource(job) for job in self.jobs]
        home = OUT / stage / model
        if not (home / HISTORY).is_file():
            raise DataError(f"{home}: the model is not computed yet. Run dvc repro.")
        if stage == "stitch":
            records = {place_of(unit): unit for unit in read_history(home)}
            return [self._stitched(home, job, records.get((job.task, job.repeat, job.fold))) for job in self.jobs]
        if (predictions.recipe, predictions.seed) != (encoder_recipe(self.params, model)["train"], self.params.seed):
            raise stale(home)
        return [self._fine_tuned(home, job) for job in self.jobs]

    def _fine_tuned(self, home: Path, job: FoldJob) -> FoldSource:
        name, params = home.name, self.params
        # Stitching may take the encoders as they were before: here they are the models themselves.
        settings: Any = params.stitch.model_copy(update={"base": "finetuned"})
        base = fold_base(
            home, job, read_history(home), encoder_settings=params.encoders[name], settings=settings, code=""
        )
        return FoldSource(job, base.model, (base,))

    def _stitched(self, home: Path, job: FoldJob, record: UnitRecord | None) -> FoldSource:
        folder, params, model, recipe = home / "models" / job.name, self.params, home.name, self._stitch_recipe
        if record is None or not is_whole(folder) or not (folder / SPEC).is_file():
            raise MachineError(f"{folder}: the fold's stitched model is missing or damaged. {MEND}", code="E402")
        names = record["encoders"]
        group, _ = params.stitch.models(list(params.encoders))[model]
        head_name = model.removeprefix(f"{group}+")
        states, train = recipe["states"], recipe["train"]
        if not set(names) <= set(states) & set(params.encoders) or head_name not in train:
            raise stale(folder)
        bases = [
            fold_base(
                OUT / "finetune" / name, job, read_history(OUT / "finetune" / name),
                encoder_settings=params.encoders[name], settings=params.stitch, code=states[name],
            )
            for name in names
        ]  # fmt: skip
        rows = head_rows(job, params.stitch, params.encoders[names[0]])
        listed = params.stitch.groups(list(params.encoders))[group] or [n for n in params.encoders if n in names]
        context = Context(
            params=params, table=self.table, folds=self.folds, recipe=recipe, finetuned=OUT / "finetune", encoders=[],
            histories={}, predictions={}, numerics=record["numerics"],
        )  # fmt: skip
        # The key of the unit that trained it says all that it depends on, the machine too: that may be another one here.
        if plan_model(context, job, model, listed, bases, head_name, rows).training[0].key != record["key"]:
            raise stale(folder)
        return FoldSource(job, folder, tuple(bases))

    @cached_property
    def _stitch_recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = read_json(stage_recipe_path("stitch"))
        return recipe

    def fitted_baseline(self, model: str, job: FoldJob) -> Any:
        """Return a baseline fitted anew on a fold's training rows, as its stage did: in seconds.

        Raises:
            DataError: if it predicts otherwise than that did.
        """
        baseline = self.params.baselines[model].build(n_outputs=len(self.table.labels[self.task]), seed=job.seed)
        baseline.fit(job.fitted, targets_of(job.fitted))
        kind, splits = self.table.kind(self.task), job.predicted["split"]
        split = "test" if (splits == "test").any() else "oof"  # an auxiliary task may have no test rows
        rows = job.predicted[splits == split]
        again = kind.values(kind.logits(baseline.predict(rows)))
        fold: Any = {"repeat": job.repeat, "fold": job.fold}
        known = probabilities_of(self.predictions(model), split, rows["row_id"].tolist(), kind=kind, **fold)
        if not np.allclose(again, known, rtol=AGREEMENT, atol=AGREEMENT):
            raise stale(predictions_path("baseline", model, self.task))
        return baseline


def stale(where: Path) -> DataError:
    """Return the error of something in `out/` that is not what the params here would make."""
    remedy = "Run dvc repro, then stitchfold bundle."
    return DataError(f"{where}: was trained with other params, rows, encoders or code than those here. {remedy}")


def sample_of(params: Params, table: Table, task: str) -> dict[str, Any] | None:
    """Return how the sample of the task's first test file is written, with a row as its rows are; None if there is none."""
    settings, files = params.tasks[task].submission, table.test_files(task)
    file = next(iter(files), "")
    if (sample := samples_of(params, file).get(task)) is None:
        return None
    test_ids = files[file]["id_in_file"].tolist()
    place = sample.id_column(test_ids)
    has_ids = bool(set(sample.column(place)) & set(test_ids))
    return {
        "file": sample.path.name, "form": settings.sample_form.model_dump(), "names": sample.names,
        "separator": sample.separator, "row": sample.rows.iloc[0].tolist(), "id_place": place if has_ids else None,
    }  # fmt: skip
