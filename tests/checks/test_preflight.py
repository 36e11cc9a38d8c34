"""Before hours are spent: sizes as they are, too small a disk refused, longest texts tried; `check` imports no torch."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.checks import dry_run, preflight, unit_needs
from pipeline.data.demo import generate
from pipeline.data.fold_jobs import fold_jobs
from pipeline.errors.exceptions import DivergedError, MachineError, ParamsError
from pipeline.params.encoders import Pretraining
from pipeline.params.fields import Component
from pipeline.params.loading import load_params
from pipeline.params.root import Params, Run
from pipeline.reproducibility import fold_seed, shared_fold
from pipeline.training.classification import Classification
from pipeline.training.loop import train
from pipeline.units import devices
from pipeline.units.checkpoints import Checkpoints
from tests.conftest import PARAMS
from tests.small import encoder, table_and_folds

Usage = namedtuple("Usage", "total used free")
FREE = 10**15


@pytest.fixture
def params(tmp_path, monkeypatch) -> Params:
    """A small competition whose files are there and of which nothing has run."""
    monkeypatch.chdir(tmp_path)
    generate(Path("data/tiny"), seed=3, n_train=40, n_test=10)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    return load_params()


def have_free(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * FREE, FREE, n_bytes))


class Points:
    """Sixteen rows of numbers."""

    lengths = np.full(16, 5)

    def batch(self, rows):
        return {"x": torch.ones(len(rows), 1000)}


def lines(params: Params) -> str:
    return "\n".join(preflight.preflight(params))


def need(**changes) -> unit_needs.Need:
    values = {"name": "bert", "n_units": 5, "n_done": 0, "model": 10, "checkpoints": 90, "memory": 100}
    return unit_needs.Need(**{**values, **changes})


def test_F8_too_small_a_disk_is_refused_after_the_table(params: Params, monkeypatch) -> None:
    """When less than 1.2 times what is still to be written is free, the run is refused with E407 and a table of the needs."""
    have_free(monkeypatch, FREE)
    assert "disk: " in lines(params)
    have_free(monkeypatch, 100_000)
    parts = preflight.preflight(params)
    table = next(parts)
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        [name, "0", "of", "2"] for name in ("bert", "electra", "stitched")
    ]
    with pytest.raises(MachineError, match=r"disk: 1.2 x .* must be free .*got 100.0 kB. Free space") as caught:
        next(parts)
    assert caught.value.code == "E407"


@pytest.mark.parametrize(("free", "is_enough"), [(288, True), (287, False)])
def test_F8_models_add_up_and_checkpoints_count_once(monkeypatch, free: int, is_enough: bool) -> None:
    """Every model still to be trained is kept, while only the checkpoints of one stage exist at a time."""
    have_free(monkeypatch, free)
    needs = [
        need(),
        need(name="electra", n_done=2, checkpoints=60),
        need(name="done", n_done=5),
    ]  # 50 + 30 + 90, and 70
    if is_enough:
        assert "0.2 kB still to be written" in preflight.check_disk(needs, more=70)
    else:
        with pytest.raises(MachineError, match="most of it for bert"):
            preflight.check_disk(needs, more=70)


@pytest.mark.parametrize("epoch_selection", ["last", "inner"])
def test_F8_a_checkpoint_is_as_large_as_estimated(tmp_path, epoch_selection: str) -> None:
    """A generation holds weights and optimizer states, and with `epoch_selection: inner` the best epoch's weights too."""
    torch.manual_seed(0)
    model, checkpoints = torch.nn.Linear(1000, 1000), Checkpoints(tmp_path)
    evaluate = (lambda model: 1.0) if epoch_selection == "inner" else None
    settings = encoder({"epochs": 2, "batch_size": 8, "epoch_selection": epoch_selection, "checkpoint_seconds": 1e-9})
    objective = Classification(
        Points(), torch.zeros(16, dtype=torch.int64), lambda model, batch, progress: model(batch["x"]).sum()
    )
    groups = [{"params": list(model.parameters()), "lr": 1e-3, "weight_decay": 0.0}]
    train(model, objective, groups, settings=settings, seed=0, device="cpu", checkpoints=checkpoints, evaluate=evaluate)
    newest = sum(path.stat().st_size for path in sorted(tmp_path.glob("step-*"))[-1].iterdir())
    [estimate] = unit_needs.encoder_needs("x", settings, [("t", 0, 0)], run=Run(device="cpu"), seed=0, recipe={})
    share = estimate.checkpoints / estimate.model / unit_needs.GENERATIONS
    assert newest / (4 * 1_001_000) == pytest.approx(share, rel=0.01)


def test_F8_the_stages_refuse_before_a_model_is_loaded(finished, tmp_path, monkeypatch) -> None:
    """The stages finetune and stitch look at the disk first: with too little of it they exit with 4 and load no model."""
    project = finished.clone(tmp_path / "project")
    shutil.rmtree(project.folder / ".stitchfold")
    monkeypatch.chdir(project.folder)
    have_free(monkeypatch, 1000)
    from pipeline.base_models import finetuning
    from pipeline.stitch import stitching
    from stages import finetune, stitch

    monkeypatch.setattr(finetuning, "finetune", None)
    monkeypatch.setattr(stitching, "stitch", None)
    for stage in (finetune, stitch):
        monkeypatch.setattr(sys, "argv", ["stage", "bert"])
        with pytest.raises(SystemExit) as caught:
            stage.main()
        error = json.loads(Path("out/last_error.json").read_text(encoding="utf-8"))
        assert (caught.value.code, error["code"]) == (4, "E407")


def test_finished_units_in_the_store_count_as_done(finished, monkeypatch) -> None:
    monkeypatch.chdir(finished.folder)
    table = lines(load_params()).splitlines()
    assert [line.split()[:4] for line in table[1:4]] == [
        ["bert", "2", "of", "2"],
        ["electra", "2", "of", "2"],
        ["stitched", "2", "of", "2"],
    ]
    changed = load_params().model_copy(update={"seed": 8})
    assert "0 of 2" in lines(changed) and "2 of 2" not in lines(changed)


def test_check_imports_no_torch(finished) -> None:
    code = (
        "import sys; from pipeline.cli import app; app(['check'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=finished.folder, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
    assert "memory: 1 x" in done.stdout and "disk: " in done.stdout


def test_a_checkpoint_that_is_not_here_yet_has_no_known_size(monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    settings = encoder().model_copy(
        update={
            "source": Component(
                kind="encoders", name="pretrained", options={"hub_id": "nobody/nothing", "revision": "0" * 40}
            )
        }
    )
    [estimate] = unit_needs.encoder_needs("x", settings, [("t", 0, 0)], run=Run(device="cpu"), seed=0, recipe={})
    assert estimate.model is None and "?" in preflight.describe([estimate])


def test_too_little_memory_is_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: namedtuple("Memory", "available")(250))
    assert "WARNING" in "".join(preflight.check_memory([need()], run=Run(n_workers=3)))
    assert "WARNING" not in "".join(preflight.check_memory([need()], run=Run(n_workers=2)))
    assert "WARNING" not in "".join(preflight.check_memory([need(n_done=5)], run=Run(n_workers=3)))


def test_states_that_will_not_fit_are_a_warning(params: Params, monkeypatch) -> None:
    have_free(monkeypatch, 10)
    assert "computed anew in every epoch" in "".join(preflight.check_states(params))
    online = params.stitch.model_copy(update={"features": "online"})
    assert not list(preflight.check_states(params.model_copy(update={"stitch": online})))


@pytest.mark.parametrize(("max_length", "said"), [(4, "at least half"), (500, "")])
def test_texts_that_will_be_cut_off_are_a_warning(finished, monkeypatch, max_length: int, said: str) -> None:
    monkeypatch.chdir(finished.folder)
    warnings = "".join(preflight.check_lengths({"bert": encoder({"max_length": max_length})}))
    assert said in warnings and bool(said) == bool(warnings)


def test_workers_are_counted_as_they_will_be_started() -> None:
    for run in (Run(device="cpu"), Run(device="cpu", threads_per_worker=2), Run(n_workers=7)):
        assert unit_needs.worker_count(run) == devices.worker_count(run)
    assert unit_needs.worker_count(Run(backend="sequential", n_workers=7)) == 1


def test_P5_more_tokens_than_the_configuration_has_positions_are_refused(params: Params) -> None:
    """`max_length` above the positions that an encoder's configuration sets is an error of params.yaml."""
    Path("params.yaml").write_text(
        PARAMS.replace("n_layers: 1, n_heads: 2}", "n_layers: 1, n_heads: 2, config: {max_position_embeddings: 20}}", 1)
    )
    with pytest.raises(ParamsError, match="encoders.bert.max_length: must be at most 20, .* got 24. Lower it"):
        load_params()


def measure(settings, n_steps: int = 2, n_train: int = 40, texts: dict[int, str] | None = None) -> dry_run.Measured:
    table, folds = table_and_folds(n_train=n_train)
    job = fold_jobs(table, folds, seed=0)[0]
    for row, text in (texts or {}).items():
        job.fitted.loc[row, "text"] = text
    options = {"n_outputs": 2, "run": Run(device="cpu"), "n_steps": n_steps, "more": {}}
    return dry_run.measure(job=job, settings=settings, **options)


def test_F13_one_long_text_that_does_not_fit_is_found_before_anything_else(tmp_path, monkeypatch) -> None:
    """The longest texts are trained on first, so that memory that runs out does so in the check and not hours later."""
    monkeypatch.chdir(tmp_path)
    sizes = []

    def loss_sums(self, model, batch, progress):
        sizes.append(batch["input_ids"].shape[1])
        if batch["input_ids"].shape[1] > 60:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"loss": model(batch).sum()}

    monkeypatch.setattr(Classification, "loss_sums", loss_sums)
    settings = encoder({"max_length": 64, "tokens_per_micro_batch": 64})
    with pytest.raises(
        MachineError, match="out of memory with a single row of 6[0-9] tokens. Lower max_length"
    ) as caught:
        measure(settings, texts={7: "owl " * 100})
    assert caught.value.code == "E403" and sizes[0] > 60
    assert measure(settings).token_budget == 64
    assert not Path(".stitchfold").exists()


def test_a_loss_that_is_not_finite_is_found(monkeypatch) -> None:
    monkeypatch.setattr(
        Classification, "loss_sums", lambda self, model, batch, progress: {"loss": model(batch).sum() * float("nan")}
    )
    with pytest.raises(DivergedError, match="must be finite"):
        measure(encoder())


def test_a_model_without_a_place_for_the_longest_text_is_found() -> None:
    settings = encoder({"max_length": 16}, config={"max_position_embeddings": 8})
    with pytest.raises(
        ParamsError, match="max_length: a row of 1[0-9] tokens must go through the model, got RuntimeError"
    ):
        measure(settings)


def test_measured_steps_are_those_of_the_training() -> None:
    measured = measure(encoder({"batch_size": 8, "epochs": 3}), n_steps=4)
    assert (measured.steps_per_epoch, measured.epochs) == (3, 3)  # 20 rows of a fold
    assert 60 < measured.tokens_per_step < 8 * 16
    assert measured.seconds_per_step > 0 and measured.peak_bytes > 10**8
    predicted_like_trained = measured.fold_seconds(1.0) - measured.build_seconds
    assert predicted_like_trained == pytest.approx(measured.seconds_per_step * 3 * (3 + 1 / 3))


def test_a_dry_run_takes_its_steps_as_training_will(monkeypatch) -> None:
    """An attack costs a step or more each time: time and memory are those of training with it."""
    seen = []
    real = dry_run.train

    def noted(*arguments, **options):
        seen.append(type(options["gradient"]).__name__)
        return real(*arguments, **options)

    monkeypatch.setattr(dry_run, "train", noted)
    measure(encoder({"adversarial": "fgm"}))
    assert seen == ["FromEpoch"] * 2


def test_the_dry_run_tries_every_encoder_on_the_raw_files(params: Params, monkeypatch) -> None:
    monkeypatch.setattr(dry_run, "ProcessPoolExecutor", lambda n_workers, mp_context: ThreadPoolExecutor(n_workers))
    head, bert, electra, total = dry_run.dry_run(params, n_steps=2)
    assert head.split()[:2] == ["tokens/step", "steps/fold"]
    assert (
        bert.split()[0] == "bert" and bert.split()[2] == "2" and electra.split()[0] == "electra"
    )  # 20 rows, 16 a step
    assert "about" in total and "stitched heads and baselines are not included" in total


def test_the_dry_run_tries_a_further_pre_training_too(params: Params, monkeypatch) -> None:
    monkeypatch.setattr(dry_run, "ProcessPoolExecutor", lambda n_workers, mp_context: ThreadPoolExecutor(n_workers))
    before = Pretraining.model_validate({"epochs": 4, "batch_size": 16, "held_out_ratio": 0.0})
    bert = params.encoders["bert"].model_copy(update={"pretrain": before})
    _, line, _, _ = dry_run.dry_run(params.model_copy(update={"encoders": {"bert": bert}}), n_steps=1)
    assert line.startswith("bert, pretrain") and int(line.split()[3]) % 4 == 0


def test_an_encoder_whose_process_is_ended_is_named(params: Params, monkeypatch) -> None:
    def broken(*arguments, **options):
        raise BrokenProcessPool

    monkeypatch.setattr(dry_run, "ProcessPoolExecutor", broken)
    with pytest.raises(MachineError, match="encoders.bert: the process .* want of memory. Lower") as caught:
        list(dry_run.dry_run(params, n_steps=1))
    assert caught.value.code == "E403"


def test_an_error_names_its_encoder_and_texts_without_labels_must_be_there(params: Params, monkeypatch) -> None:
    uda = params.encoders["bert"].model_copy(update={"objective": Component(kind="objectives", name="uda")})
    with pytest.raises(ValueError, match="encoders.bert.objective: uda reads variants .* Run dvc repro augment first"):
        list(dry_run.dry_run(params.model_copy(update={"encoders": {"bert": uda}}), n_steps=1))


@pytest.mark.slow
def test_the_command_times_real_steps_in_processes_of_their_own_and_stores_nothing(finished) -> None:
    before = sorted((finished.folder / ".stitchfold").rglob("*"))
    done = finished.run("stitchfold", "check", "--dry-steps", "2")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[-3:]] == ["bert", "electra", "fine-tuning:"]
    assert sorted((finished.folder / ".stitchfold").rglob("*")) == before


def test_finished_shared_models_are_found_in_whatever_order_params_name_the_tasks(monkeypatch) -> None:
    """Training takes tasks by the table, `check` by params.yaml: both mean the same units."""
    finished = {("digest", fold_seed(0, shared_fold(["animal", "weather"], 0, fold))) for fold in (0, 1)}
    monkeypatch.setattr(unit_needs, "finished_units", lambda step: finished)
    places = [(task, 0, fold) for task in ("weather", "animal") for fold in (0, 1)]
    settings = encoder({"sharing": "hard"})
    [need] = unit_needs.encoder_needs("bert", settings, places, run=Run(), seed=0, recipe={"train": "digest"})
    assert (need.n_done, need.n_open) == (2, 0)
