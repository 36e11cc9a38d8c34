"""Where units run: how many at once, and on which GPU."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import joblib

from pipeline import components
from pipeline.errors.exceptions import MachineError
from pipeline.params.root import Run
from pipeline.units.locks import try_flock
from pipeline.units.store import STORE


def worker_count(run: Run, *, n_gpus: int | None = None) -> int:
    """Return how many units run at once: one per GPU, or one per `threads_per_worker` cores.

    Args:
        run: what is asked for.
        n_gpus: how many there are, for those who must not import torch; None counts them.
    """
    if components.constant("backends", run.backend.name, "IN_PROCESS"):
        return 1
    if run.n_workers is not None:
        return run.n_workers
    n_gpus = gpu_count(run.device) if n_gpus is None else n_gpus
    return n_gpus or max(1, joblib.cpu_count() // run.threads_per_worker)


def gpu_count(device: str) -> int:
    """Return how many GPUs a run may use, without starting CUDA in this process.

    Raises:
        MachineError: if `device` is cuda and there is none.
    """
    if device == "cpu":
        return 0
    import torch

    n_gpus = torch.cuda.device_count()
    if device == "cuda" and n_gpus == 0:
        raise MachineError("run.device: cuda needs a GPU, found none. Set it to auto or cpu.")
    return n_gpus


@contextmanager
def one_gpu(device: str) -> Iterator[None]:
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
                if not try_flock(file):
                    continue
                torch.cuda.set_device(number)
                try:
                    yield
                finally:
                    torch.cuda.empty_cache()  # the next unit of this worker may get another GPU
                return
        time.sleep(0.2)


def forget_peak_memory(device: str) -> None:
    """Begin anew to measure the most memory that is held, on the GPU or by this process."""
    if gpu_count(device):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # not Linux, or a sandbox: then it is the most since the process began
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int | None:
    """Return the most bytes that were held since: by torch on the GPU, else by this process, libraries and all.

    None where the system does not say.
    """
    if gpu_count(device):
        import torch

        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return None
