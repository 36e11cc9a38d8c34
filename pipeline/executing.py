"""Units of work in worker processes, and the store in which a finished unit is found by its key and never computed again.

A unit's folder is `.stitchfold/units/<key>/`: `lock` (held while somebody writes), `checkpoints/`, `result/` (whole or
absent), `progress.json`. The key says everything that the result depends on; where the unit runs is not among it.
"""

import fcntl
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.artifacts import write_atomically
from pipeline.checkpointing import Checkpoints, is_whole, publish_folder, set_aside
from pipeline.exceptions import LOG_FORMAT, InterruptedRun, MachineError, PipelineError, as_pipeline_error
from pipeline.progress import Watcher
from pipeline.reproducibility import digest
from pipeline.stopping import stop_on_signals, stop_requested

if TYPE_CHECKING:
    from pipeline.params import Run

STORE = Path(".stitchfold/units")
LAST_RUN = Path(".stitchfold/last_run")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """One piece of work: a name for people, and all that its result depends on, as JSON."""

    name: str
    depends_on: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Return the digest under which the result is stored."""
        return digest(self.depends_on)[:32]

    @property
    def folder(self) -> Path:
        """Return the unit's folder in the store."""
        return STORE / self.key

    @property
    def result(self) -> Path:
        """Return the folder of the result: whole or absent."""
        return self.folder / "result"

    def is_finished(self) -> bool:
        """Return whether the result is there and undamaged; a damaged one is set aside."""
        if not self.result.exists():
            return False
        if is_whole(self.result):
            return True
        set_aside(self.result)
        return False


@dataclass
class Workspace:
    """What the work of a unit may use: a folder for its result, checkpoints, and a monitor."""

    unit: Unit
    result: Path
    device: str
    checkpoints: Checkpoints
    _written_at: float = 0.0
    _progress: dict[str, float] = field(default_factory=dict)

    def progress(self, **values: float) -> None:
        """Note the unit's progress where the stage's process can see it, at most once a second."""
        self._progress.update(values)
        if time.monotonic() - self._written_at > 1:
            self._written_at = time.monotonic()
            (self.unit.folder / "progress.json").write_text(json.dumps(self._progress), encoding="utf-8")

    def stop_requested(self) -> int | None:
        """Return the exit code to stop with, or None."""
        return stop_requested()


Work = Callable[..., None]


def run_units(jobs: list[tuple[Unit, Work, dict[str, Any]]], *, run: "Run", stage: str) -> None:
    """Finish all units: those in the store are left alone, the others computed, several at once.

    Args:
        jobs: for each unit its work, called as `work(workspace, **arguments)` in a worker process.
        run: backend, workers, device and retries.
        stage: a name for progress and for `.stitchfold/last_run/<stage>.json`.

    Raises:
        InterruptedRun: if the stage was asked to stop; what was running is checkpointed.
        PipelineError: the first error of a unit, after the others have finished.
        MachineError: if workers died more than `run.max_retries` times.
    """
    started = time.monotonic()
    open_jobs = [job for job in jobs if not job[0].is_finished()]
    n_reused = len(jobs) - len(open_jobs)
    log.info("%s: %d units, %d in the store, %d to compute", stage, len(jobs), n_reused, len(open_jobs))
    with stop_on_signals(), Watcher([job[0] for job in open_jobs], stage=stage):
        errors = _attempt(open_jobs, run) if open_jobs else []
    if errors:
        code = stop_requested()
        raise InterruptedRun("\n".join(map(str, errors)), code) if code else errors[0]
    record = {
        "stage": stage,
        "computed": len(open_jobs),
        "reused": n_reused,
        "seconds": time.monotonic() - started,
    }
    write_atomically(LAST_RUN / f"{stage}.json", (json.dumps(record) + "\n").encode())


def _attempt(jobs: list[tuple[Unit, Work, dict[str, Any]]], run: "Run") -> list[PipelineError]:
    """Run units until all are finished or failed; start again those that a dead worker took down."""
    n_workers = worker_count(run)
    backend = run.backend if n_workers > 1 else "sequential"
    n_deaths = 0
    failed: dict[str, PipelineError] = {}
    while True:
        tasks = [joblib.delayed(_run_unit)(*job, device=run.device, threads=run.threads_per_worker) for job in jobs]
        try:
            parallel = joblib.Parallel(n_jobs=n_workers, backend=backend, return_as="generator_unordered", batch_size=1)
            with warnings.catch_warnings():
                # loky renews a worker that has grown between two units, and takes that for a cause of alarm.
                warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
                for key, error in parallel(tasks):
                    if error is not None:
                        failed[key] = error
            return list(failed.values())
        except TerminatedWorkerError as error:  # one death fails the whole call; what is finished lies in the store
            code = stop_requested()
            if code:
                return [InterruptedRun("interrupted; run dvc repro to continue.", code)]
            still_open = [job for job in jobs if job[0].key not in failed and not job[0].is_finished()]
            n_before, jobs = len(jobs), still_open
            n_deaths = n_deaths + 1 if len(jobs) == n_before else 1
            names = ", ".join(job[0].name for job in jobs)
            log.warning("a worker died; trying again: %s", names)
            if n_deaths > run.max_retries:
                raise MachineError(
                    f"{names}: a worker process died {n_deaths} times, often for want of memory. Lower run.n_workers "
                    "and run dvc repro; finished units are kept."
                ) from error


def worker_count(run: "Run") -> int:
    """Return how many units run at once: one per GPU, or one per `threads_per_worker` cores."""
    if run.n_workers is not None:
        return run.n_workers
    return gpu_count(run.device) or max(1, joblib.cpu_count() // run.threads_per_worker)


def gpu_count(device: str) -> int:
    """Return how many GPUs a run may use, without starting CUDA in this process.

    Raises:
        MachineError: if `device` is cuda and there is none.
    """
    if device == "cpu":
        return 0
    import torch

    found = torch.cuda.device_count()
    if device == "cuda" and found == 0:
        raise MachineError("run.device: cuda needs a GPU, found none. Set it to auto or cpu.")
    return found


def _run_unit(
    unit: Unit, work: Work, arguments: dict[str, Any], *, device: str, threads: int
) -> tuple[str, PipelineError | None]:
    """Compute a unit in this process and publish its result; return its key and its error, so that it ends no other."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, datefmt="%H:%M:%S")  # a worker starts without
    with stop_on_signals(), _gpu(device), _numerics(threads, on_gpu=gpu_count(device) > 0):
        unit.folder.mkdir(parents=True, exist_ok=True)
        code = stop_requested()
        if code:
            return unit.key, InterruptedRun(f"{unit.name}: not begun; run dvc repro to continue.", code)
        try:
            with _lock(unit):
                if not unit.is_finished():  # somebody else may have computed it while we waited
                    _compute(unit, work, arguments, device)
        except Exception as error:  # also a fault of the program or a library: the other units go on all the same
            return unit.key, as_pipeline_error(error).within(unit.name)
    return unit.key, None


def _compute(unit: Unit, work: Work, arguments: dict[str, Any], device: str) -> None:
    for leftover in unit.folder.glob(".result.*"):
        shutil.rmtree(leftover)
    write_atomically(
        unit.folder / "unit.json",
        (json.dumps({"name": unit.name, **unit.depends_on}, indent=1) + "\n").encode(),
    )
    temporary = unit.folder / f".result.{os.getpid()}"
    temporary.mkdir()
    workspace = Workspace(unit, temporary, device, Checkpoints(unit.folder / "checkpoints", name=unit.name))
    work(workspace, **arguments)
    publish_folder(temporary, unit.result)
    workspace.checkpoints.remove()
    (unit.folder / "progress.json").unlink(missing_ok=True)


@contextmanager
def _lock(unit: Unit) -> Iterator[None]:
    """Be the only writer of a unit; a second one waits and says for whom."""
    with (unit.folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            log.warning("%s: is being written by process %s; waiting", unit.name, file.read() or "(unknown)")
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    code = stop_requested()
                    if code:
                        raise InterruptedRun("interrupted while waiting; run dvc repro to continue.", code) from None
                    time.sleep(0.2)
        file.truncate(0)
        file.write(f"{os.getpid()} since {time.strftime('%H:%M:%S')}")
        file.flush()
        yield


@contextmanager
def _gpu(device: str) -> Iterator[None]:
    """Hold one free GPU, found by lock files, so that workers of several stages never share one."""
    n_gpus = gpu_count(device)
    if n_gpus == 0:
        yield
        return
    import torch

    STORE.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(n_gpus):
            # By its own id: numbers depend on CUDA_VISIBLE_DEVICES.
            with (STORE / f"gpu-{torch.cuda.get_device_properties(number).uuid}.lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                torch.cuda.set_device(number)
                try:
                    yield
                finally:
                    torch.cuda.empty_cache()  # the next unit of this worker may get another GPU
                return
        time.sleep(0.2)


@contextmanager
def _numerics(n_threads: int, *, on_gpu: bool) -> Iterator[None]:
    """Fix what changes the bits of a result: torch's threads, and on a GPU the choice of kernels."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    torch.use_deterministic_algorithms(on_gpu, warn_only=True)
    # A debugging aid that costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before)


def link_folder(source: Path, target: Path) -> None:
    """Put a result's files under another name: by hard links where the filesystem allows, else by copies."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        (target / path.name).unlink(missing_ok=True)
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)
