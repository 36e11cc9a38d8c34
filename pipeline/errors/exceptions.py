"""The errors of the pipeline, and their codes. Imports nothing heavy: every module may raise them.

A message reads *where: what must hold, got what. What to do.* The first digit of a code is the exit code: 2 params,
3 data, 4 machine, 5 diverged.
"""

import difflib
import errno
import os
import shutil
import tempfile
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.errors.redacting import redact

# code -> what it is called, and why the run cannot simply go on
CODES: dict[str, tuple[str, str]] = {
    "E100": ("unexpected error", "The program met what it was not written for, so nothing after it can be trusted."),
    "E200": ("params.yaml is wrong", "A wrong setting found now costs a second, found later a night of training."),
    "E201": ("unknown key", "A key that nobody reads would leave its default in force, silently."),
    "E202": ("wrong value", "The setting would mean something else than what is written."),
    "E203": ("settings contradict each other", "Only one of them could be obeyed."),
    "E204": ("model not pinned or not there", "Another revision of a checkpoint is another model, with another score."),
    "E205": ("undeclared input", "DVC would not run the stage again when that input changes: old results would pass as new."),
    "E300": ("data file is wrong", "Rows read wrongly train a wrong model or are scored as wrong answers."),
    "E301": ("label missing", "A row without a label can neither train nor score a model."),
    "E302": ("ids repeat or are missing", "Predictions are joined by id: two rows of one id would get one answer."),
    "E303": ("column missing", "A column taken for another one trains on the wrong text or the wrong label."),
    "E304": ("encoding", "Bytes read in another encoding become other words."),
    "E305": ("unknown label", "No model can predict a label that it has never seen."),
    "E306": ("test file and sample disagree", "The competition refuses a submission whose ids are not those it scores."),
    "E307": ("rows are broken", "A broken row shifts or swallows its neighbours."),
    "E308": ("archive refused", "An archive can write outside its folder or fill the disk."),
    "E309": ("made from other inputs", "Scores of models that saw different folds cannot be compared or stacked."),
    "E310": ("submission would be refused", "A refused upload costs one of the day's attempts."),
    "E311": ("leak", "A model that has seen a row it is scored on reports a score that it will not reach."),
    "E312": ("edited meanwhile", "DVC would record the old result as that of the new inputs: it would pass as up to date."),
    "E400": ("machine", "The machine did not do what the run needs."),
    "E401": ("disk full or not writable", "A file that is not written whole must not be read as if it were."),
    "E402": ("artifact damaged", "What was made from a damaged file would be wrong without anyone noticing."),
    "E403": ("out of memory", "Not even a single row fits."),
    "E404": ("no progress", "A unit that hangs holds its device for ever."),
    "E405": ("worker died", "The same unit died each time it was tried."),
    "E406": ("no lock", "Two processes that write one unit would mix their files."),
    "E407": ("too little space", "The run would stop in the middle of a checkpoint, hours from now."),
    "E408": ("another machine class", "The result would not be bit-equal to that of the interrupted run."),
    "E409": ("board not reached", "Without its answer nobody knows whether it has the submission."),
    "E410": ("refused by the board", "What the board does not take it does not score."),
    "E500": ("not finite", "A loss or prediction that is not a number spreads to everything computed from it."),
    "E501": ("training diverged", "After a step with this gradient the weights would be lost."),
    "E130": ("interrupted", "Somebody pressed Ctrl-C."),
    "E143": ("interrupted", "Somebody asked the run to stop, or the dvc above it is gone."),
}  # fmt: skip


SHARED_MEMORY = "/dev/shm"


class PipelineError(Exception):
    """What the user can mend, with the code of `CODES` that it falls under and what is kept of the work."""

    exit_code = 1
    code = "E100"
    kept = "Finished units and the checkpoints of unfinished ones, in .stitchfold/units; nothing is half-written."

    def __init__(self, message: str = "", *, code: str | None = None, kept: str | None = None) -> None:
        super().__init__(redact(message))
        self.code = code or self.code
        self.kept = kept or self.kept

    def within(self, origin: str) -> "PipelineError":
        """Put where the error comes from before its message, and return it."""
        self.args = (f"{origin}: {self}",)
        return self


class ParamsError(PipelineError, ValueError):
    """params.yaml is wrong; carries every problem found, one a line."""

    exit_code = 2
    code = "E200"


class DataError(PipelineError, ValueError):
    """A data file or an artifact does not hold what it must."""

    exit_code = 3
    code = "E300"


class MachineError(PipelineError, RuntimeError):
    """Disk, memory, a worker or a device failed."""

    exit_code = 4
    code = "E400"


class DivergedError(PipelineError, ArithmeticError):
    """The loss, a gradient or a prediction is not finite."""

    exit_code = 5
    code = "E500"


class InterruptedRun(PipelineError, RuntimeError):
    """A signal asked the run to stop; its work is kept and `dvc repro` goes on from there."""

    def __init__(self, message: str = "", exit_code: int = 143, *, kept: str | None = None) -> None:
        super().__init__(message, code=f"E{exit_code}", kept=kept)
        self.exit_code = exit_code


def as_pipeline_error(error: Exception) -> PipelineError:
    """Return the error itself, or what it means: a full disk and an exhausted memory have a code, the rest is E100."""
    if isinstance(error, PipelineError):
        return error
    text = f"{type(error).__name__}: {error}"
    if is_disk_error(error):
        is_full = os.strerror(errno.ENOSPC).lower() in str(error).lower()
        return disk_error(Path(getattr(error, "filename", None) or (_fullest() if is_full else ".")), error)
    if isinstance(error, MemoryError):
        return MachineError(f"memory: is exhausted, got {text}. Lower run.n_workers and run dvc repro.", code="E403")
    frames = "".join(traceback.format_exception(error))
    return PipelineError(f"unexpected: {text}. Report it with this:\n{frames}", code="E100")


def _fullest() -> str:
    """Return the place with the least free space of those that a run writes in: an error without a name is about this one."""
    known = [".", tempfile.gettempdir(), os.environ.get("JOBLIB_TEMP_FOLDER"), SHARED_MEMORY]
    return min((place for place in known if place and os.path.isdir(place)), key=lambda p: shutil.disk_usage(p).free)


def is_disk_error(error: Exception) -> bool:
    """Return whether an error says that a disk is full or not writable, in any of the ways in which libraries tell it.

    >>> is_disk_error(OSError(28, "No space left on device")), is_disk_error(OSError(2, "No such file"))
    (True, False)
    """
    numbers = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in numbers
    message = str(error).lower()
    return any(text in message for number in numbers for text in (f"os error {number})", os.strerror(number).lower()))


def disk_error(path: Path, error: Exception, *, n_bytes: int | None = None) -> MachineError:
    """Return what to tell when a file, of so many bytes, could not be written."""
    folder = next((parent for parent in (path, *path.absolute().parents) if parent.is_dir()), Path("/"))
    needed = "" if n_bytes is None else f"needed {n_bytes / 1e9:.2f} GB, "
    larger = " Of a container it is made larger by --shm-size=2g." if path.is_relative_to(SHARED_MEMORY) else ""
    return MachineError(
        f"{path}: cannot be written: {error} ({needed}free {shutil.disk_usage(folder).free / 1e9:.2f} GB). "
        f"Free space or correct its permissions, and run dvc repro again.{larger}",
        code="E401",
    )


SHOWN_CHARACTERS = 120


def shown(value: Any) -> str:
    """Return a value as a message shows it.

    >>> shown("1"), len(shown("long" * 1000))
    ("'1'", 121)
    """
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def expected(value: Any, known: Collection[str]) -> str:
    """Say what was got, what could have been, and what was perhaps meant.

    >>> expected("focall", ["focal", "cross_entropy"])
    "got 'focall', expected one of ['cross_entropy', 'focal']. Did you mean 'focal'?"
    """
    close = difflib.get_close_matches(str(value)[:SHOWN_CHARACTERS], list(known), n=1)
    remedy = f"Did you mean {close[0]!r}?" if close else "Take one of them."
    return f"got {shown(value)}, expected one of {sorted(known)}. {remedy}"
