"""Seeds that depend only on what is computed, and the record of what the numbers depend on besides."""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

VERSIONED = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn", "lightgbm")
# What tells a library inside torch or numpy, which does not say what it took, to leave instructions out.
CHOOSE_INSTRUCTIONS = (
    "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
)  # fmt: skip


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-like value in canonical form, as 64 hex digits.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed in [0, 2**31) for one purpose, a function of nothing but its arguments.

    >>> derive_seed(1, "dropout", 3) == derive_seed(1, "dropout", 3) != derive_seed(1, "dropout", 4)
    True
    """
    return int(digest([seed, *parts])[:8], 16) % 2**31


def versions() -> dict[str, str]:
    """Return the versions of the libraries that the numbers depend on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def numerics(device: str, n_threads: int) -> dict[str, Any]:
    """Return the numerics class: what decides the bits of a result besides code, params, data and seed."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "threads": None, "instructions": None, **versions()}
    return {"device": "cpu", "threads": n_threads, "instructions": instructions(), **versions()}


@cache
def instructions() -> dict[str, str]:
    """Return which of the CPU's instructions the libraries here compute with, on their own or because they are told to.

    Under `ATEN_CPU_CAPABILITY=avx2` in place of AVX-512 the predictions of a small encoder differed by 1.5e-3.
    """
    import scipy.linalg  # noqa: F401  # with numpy all that brings a BLAS: what is loaded must not depend on who asks
    import torch
    from threadpoolctl import threadpool_info

    blas = {library["architecture"] for library in threadpool_info() if library.get("architecture")}
    told = {name: os.environ[name] for name in CHOOSE_INSTRUCTIONS if name in os.environ}
    return {"torch": torch.backends.cpu.get_cpu_capability(), "blas": " ".join(sorted(blas)), **told}


@contextmanager
def fixed_numerics(n_threads: int, *, on_gpu: bool) -> Iterator[None]:
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


@contextmanager
def same_gradients(wanted: bool) -> Iterator[None]:
    """Within `fixed_numerics` on a GPU, refuse kernels whose gradients change from run to run instead of warning.

    Asked to warn only, attention takes them all the same: of BERT-base in fp32 over 256 tokens 133 of 199 gradients differed.

    Raises:
        RuntimeError: from the block, if an operation has no other kernel.
    """
    import torch

    on_gpu = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(on_gpu, warn_only=not wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(on_gpu, warn_only=True)


def fold_seed(run_seed: int, fold: tuple[str, int, int], *parts: str) -> int:
    """Return the seed of a fold, given as its task, repeat and number, or of one of its models."""
    return derive_seed(run_seed, *fold, *parts)


def pretraining_seed(run_seed: int, place: tuple[int, int] | None) -> int:
    """Return the seed of a further pre-training, of the fold of a repeat and number, or of all."""
    return derive_seed(run_seed, "pretrain", *(place or ()))


def shared_fold(tasks: Iterable[str], repeat: int, fold: int) -> tuple[str, int, int]:
    """Return the fold of one model of several tasks, as `fold_seed` takes it; the order of the tasks has no say.

    >>> shared_fold(["b", "a"], 0, 1)
    ('a+b', 0, 1)
    """
    return "+".join(sorted(tasks)), repeat, fold
