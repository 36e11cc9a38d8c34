"""What torch computes on, in which precision, and how it says that the memory there ran out."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel

from pipeline.errors.exceptions import ParamsError

RAN_OUT = ("out of memory", "alloc_failed", "can't allocate memory")  # CUDA, cuBLAS, the CPU's allocator


def accelerator_for(precision: str, device: str) -> Accelerator:
    """Return an Accelerator for `auto`, `fp32`, `bf16` or `fp16` on `auto`, `cpu` or `cuda`."""
    AcceleratorState._reset_state(reset_partial_state=True)  # a worker runs units of several precisions in turn
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if on_cpu and precision in ("bf16", "fp16"):
        raise ParamsError(f"precision: {precision} needs a GPU, and there is none. Use auto or fp32.")
    precision = precision_on(precision, "cpu" if on_cpu else "cuda")
    return Accelerator(cpu=on_cpu, mixed_precision="no" if precision == "fp32" else precision)


def precision_on(precision: str, device: str) -> str:
    """Return the precision on a device, `cpu` or `cuda`: `auto` is bf16 where a GPU has it, and a CPU has but fp32."""
    if device == "cpu":
        return "fp32"
    return ("bf16" if torch.cuda.is_bf16_supported() else "fp32") if precision == "auto" else precision


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that a device's memory ran out, in any of the ways in which torch tells it.

    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")), is_out_of_memory(RuntimeError("shapes"))
    (True, False)
    """
    said = str(error).lower()
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and any(words in said for words in RAN_OUT))


def checkpoint_gradients(model: torch.nn.Module) -> None:
    """Let the encoders of a model keep few activations and compute the others again: less memory, more time.

    Raises:
        ParamsError: if one of them cannot.
    """
    try:
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                module.gradient_checkpointing_enable()
    except ValueError as error:
        raise ParamsError(f"gradient_checkpointing: {error} Set it to false for this encoder.") from error
