"""From a checked submission to the board and back: uploaded once, waited for, noted with what was expected of it."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.artifacts.boards import Board, Submitted
from pipeline.artifacts.files import read_json, sha256_of
from pipeline.artifacts.paths import METRICS
from pipeline.artifacts.scores import read_scores, submitted
from pipeline.artifacts.submissions import chosen, read_submissions
from pipeline.errors.exceptions import DataError, InterruptedRun, MachineError
from pipeline.number_formats import score
from pipeline.params.root import Params
from pipeline.submit.kaggle import KEPT, Kaggle, Notebook, Verdict
from pipeline.submit.submissions import validate_submissions

SHA256, N_DIGITS = "sha256:", 12
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 60.0


def describe(
    params: Params, *, test: str | None = None, message: str | None = None, notebook: Notebook | None = None
) -> tuple[Submitted, Path]:
    """Check what `out/` submits once more; return what is noted of it, with what is expected on the test rows, and its path.

    `test` is the name of its test file, None where there is one. The message ends with what was submitted: by that it is
    found again.

    Raises:
        DataError: if the competition would refuse it.
        ParamsError: if there is no such test file, or which of several is not said.
    """
    file_name = chosen(read_submissions(), test)
    validate_submissions(params)
    record = read_submissions()[file_name]
    file, short = SHA256 + record["sha256"], SHA256 + record["sha256"][:N_DIGITS]
    if notebook is not None:
        file = short = f"{notebook.name}/{notebook.version}/{notebook.file}"
    estimate, low, high = _expected(record["model"])
    interval = f" [{score(low)}, {score(high)}]" * (low is not None)
    of_file = f", {file_name}" * bool(file_name)
    text = message or f"{record['model']} {score(estimate)}{interval}{of_file}{_commit()}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Submitted(now, file, record["model"], f"{text} ({short})", estimate, low, high), Path(record["path"])


def submit(
    new: Submitted, board: Board, kaggle: Kaggle, what: Path | Notebook, *, again: bool, wait_seconds: float,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Upload what was not uploaded yet, wait for the board, and note what it says.

    Raises:
        MachineError: if the board is not reached, or refuses it.
        InterruptedRun: on Ctrl-C; the next call goes on from there.
    """
    known = None if again else board.last(new.file)
    try:
        if known is None or (not known.ref and known.public is None):
            known = _upload(known or new, board, kaggle, what)
            say(f"submission {known.ref}: {known.message!r}. Waiting for the board")
        else:
            say(f"submission {known.ref or 'by hand'}: of {known.date}, not uploaded again (--again does it)")
        if known.ref:
            _wait(known, board, kaggle, seconds=wait_seconds, say=say)
    except KeyboardInterrupt as error:
        text = "interrupted. Run stitchfold submit again, which uploads nothing twice and waits on."
        raise InterruptedRun(text, 130, kept=KEPT) from error


def fetch(board: Board, kaggle: Kaggle) -> None:
    """Note the scores that the board has given since."""
    for row in board.read():
        if row.ref and row.private is None:
            _note_scores(row, kaggle.verdict(row.ref), board)


def _upload(new: Submitted, board: Board, kaggle: Kaggle, what: Path | Notebook) -> Submitted:
    """Upload a copy, which nobody writes meanwhile, noted before and after; what is cut off in between is looked for."""
    others = [row.ref for row in board.read()]
    ref = kaggle.find(new.message, known=others) if new == board.last(new.file) else ""
    if not ref:
        kaggle.refuse_without_attempts()
        with tempfile.TemporaryDirectory() as aside:
            if isinstance(what, Path):
                what = Path(shutil.copy(what, aside))
                if SHA256 + sha256_of(what) != new.file:
                    text = f"{what.name}: must stay as it was checked, got another. Run stitchfold submit again."
                    raise DataError(text, code="E312")
            board.note(new, instead_of=new)
            try:
                ref = kaggle.upload(what, new.message) or kaggle.find(new.message, known=others)
            except MachineError as error:
                if error.code == "E410":  # an answer: it is not there
                    board.note(instead_of=new)
                raise
    if not ref:
        text = f"{new.message}: must arrive whole, got cut off on its way. Run stitchfold submit again."
        raise MachineError(text, code="E409", kept=KEPT)
    board.note(uploaded := replace(new, ref=ref), instead_of=new)
    return uploaded


def _wait(known: Submitted, board: Board, kaggle: Kaggle, *, seconds: float, say: Callable[[str], None]) -> None:
    """Wait until the board has scored a submission, or so long, and note its scores."""
    end, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while not (verdict := kaggle.verdict(known.ref)).done:
        if (left := end - time.monotonic()) <= 0:
            say(f"submission {known.ref}: not scored yet. Next: stitchfold submit again, which waits on")
            return
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    if verdict.error:
        text = f"submission {known.ref}: the board must score it, got {verdict.error}. Mend that, and submit --again."
        raise MachineError(text, code="E410", kept=KEPT)
    _note_scores(known, verdict, board)


def _note_scores(known: Submitted, verdict: Verdict, board: Board) -> None:
    if verdict.public is not None or verdict.private is not None:
        board.note(replace(known, public=verdict.public, private=verdict.private), instead_of=known)


def _expected(model: str) -> tuple[float | None, float | None, float | None]:
    """Return what a model is expected to score on the test rows, the mean over tasks; only ensembles have an interval."""
    if model == "ensemble":
        metrics = read_json(METRICS)
        return metrics["estimate"], metrics["low"], metrics["high"]
    tasks = ({one["name"]: one["expected"] for one in scores["models"]} for scores in submitted(read_scores()).values())
    values: list[Any] = [expected.get(model) for expected in tasks]
    return None if None in values else fmean(values), None, None


def _commit() -> str:
    """Return the commit for the message, `-dirty` where files differ from it; nothing where there is none."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return f", commit {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return ""
