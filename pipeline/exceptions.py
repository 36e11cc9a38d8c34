"""The errors of the pipeline, their exit codes, and the block in which a stage or a command shows them."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LAST_ERROR = Path("out/last_error.json")
LOG_FORMAT = "%(asctime)s %(message)s"


class PipelineError(Exception):
    """What the user can mend. The message reads: *where: what must hold, got what. What to do.*"""

    exit_code = 1


class ParamsError(PipelineError, ValueError):
    """params.yaml is wrong; carries every problem found, one a line."""

    exit_code = 2


class DataError(PipelineError, ValueError):
    """A data file or an artifact does not hold what it must."""

    exit_code = 3


class MachineError(PipelineError, RuntimeError):
    """Disk, memory, a worker or a device failed."""

    exit_code = 4


class DivergedError(PipelineError, ArithmeticError):
    """The loss, a gradient or a prediction is not finite."""

    exit_code = 5


class InterruptedRun(PipelineError, RuntimeError):
    """A signal asked the run to stop; its work is kept and `dvc repro` goes on from there."""

    exit_code = 143

    def __init__(self, message: str = "", exit_code: int = 143) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn a `PipelineError` into one block on stderr, `out/last_error.json` and the error's exit code."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, datefmt="%H:%M:%S")
    try:
        yield
        LAST_ERROR.unlink(missing_ok=True)
    except PipelineError as error:
        stage = os.environ.get("DVC_STAGE", Path(sys.argv[0]).stem)
        print(f"\n{type(error).__name__} in {stage}\n{error}", file=sys.stderr, flush=True)
        LAST_ERROR.parent.mkdir(exist_ok=True)
        block = {
            "stage": stage,
            "error": type(error).__name__,
            "exit_code": error.exit_code,
            "message": str(error),
        }
        LAST_ERROR.write_text(json.dumps(block, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        sys.exit(error.exit_code)
