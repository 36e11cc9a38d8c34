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
from pipeline.artifacts.paths import METRICS, SUBMISSION
from pipeline.artifacts.scores import read_scores
from pipeline.errors.exceptions import DataError, InterruptedRun, MachineError
from pipeline.number_formats import score
from pipeline.params.root import Params
from pipeline.submit.kaggle import KEPT, Kaggle, Notebook, Verdict
from pipeline.submit.submitting import validate_submission

SHA256 = "sha256:"
SHORT = len(SHA256) + 12
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 60.0


def describe(params: Params, *, message: str | None = None, notebook: Notebook | None = None) -> Submitted:
    """Check the submission in `out/` once more and return what is noted of it, with what is expected on the test rows.

    The message ends with what was submitted, by which it is found again.

    Raises:
        DataError: if the competition would refuse it.
    """
    validate_submission(params)
    record = read_json(SUBMISSION)
    estimate, low, high = _expected(record["model"])
    file = SHA256 + record["sha256"] if notebook is None else f"{notebook.name}/{notebook.version}/{notebook.file}"
    short = file[:SHORT] if notebook is None else file
    interval = f" [{score(low)}, {score(high)}]" * (low is not None)
    text = message or f"{record['model']} {score(estimate)}{interval}{_commit()}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Submitted(now, file, record["model"], f"{text} ({short})", estimate, low, high)


def submit(
    new: Submitted, board: Board, kaggle: Kaggle, what: Path | Notebook, *, again: bool, wait_seconds: float,
    say: Callable[[str], None],
) -> Submitted:  # fmt: skip
    """Upload what was not uploaded yet, wait for the board, and return what is noted of it.

    Raises:
        MachineError: if the board is not reached, or refuses it.
        InterruptedRun: on Ctrl-C; the next call goes on from there.
    """
    try:
        known = None if again else board.last(new.file)
        if known is not None and not known.ref and known.public is None:  # its upload was cut off: it may be there
            ref = kaggle.find(known.message, known=[row.ref for row in board.read()])
            known = board.note(replace(known, ref=ref), instead_of=known)
        if known is None or (not known.ref and known.public is None):
            known = _upload(known or new, board, kaggle, what)
            say(f"submission {known.ref}: uploaded, {known.message!r}. Waiting for the board")
        else:
            say(f"submission {known.ref or 'by hand'}: is of {known.date}, not uploaded again (--again does it)")
        return _wait(known, board, kaggle, seconds=wait_seconds, say=say) if known.ref else known
    except KeyboardInterrupt as error:
        text = "interrupted. Run stitchfold submit again, which uploads nothing twice and waits on."
        raise InterruptedRun(text, 130) from error


def _upload(new: Submitted, board: Board, kaggle: Kaggle, what: Path | Notebook) -> Submitted:
    """Upload a copy that nobody writes meanwhile; note it before, so that no cut makes it forgotten, and after."""
    kaggle.refuse_without_attempts()
    with tempfile.TemporaryDirectory() as aside:
        if isinstance(what, Path):
            what = Path(shutil.copy(what, aside))
            if SHA256 + sha256_of(what) != new.file:
                text = (
                    f"{what.name}: must stay as it was when it was checked, got another. Run stitchfold submit again."
                )
                raise DataError(text, code="E312")
        noted = board.note(new, instead_of=new)
        try:
            ref = kaggle.upload(what, noted.message)
        except MachineError as error:
            if error.code == "E410":  # an answer: it is not there
                board.drop(noted)
            raise
    if not (ref := ref or kaggle.find(noted.message, known=[row.ref for row in board.read()])):
        text = f"{noted.file[:SHORT]}: must arrive whole, got cut off on its way. Run stitchfold submit again."
        raise MachineError(text, code="E409", kept=KEPT)
    return board.note(replace(noted, ref=ref), instead_of=noted)


def fetch(board: Board, kaggle: Kaggle) -> None:
    """Note the scores that the board has given since."""
    for row in board.read():
        if row.ref and row.private is None:
            _note_scores(row, kaggle.verdict(row.ref), board)


def _wait(known: Submitted, board: Board, kaggle: Kaggle, *, seconds: float, say: Callable[[str], None]) -> Submitted:
    """Wait until the board has scored a submission, or so long, note its scores and return it."""
    end, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while not (verdict := kaggle.verdict(known.ref)).done:
        if (left := end - time.monotonic()) <= 0:
            say(f"submission {known.ref}: not scored yet. Next: stitchfold submit again, which waits on")
            return known
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    if verdict.error:
        text = f"submission {known.ref}: the board must score it, got {verdict.error}. Mend that, and submit --again."
        raise MachineError(text, code="E410", kept=KEPT)
    say(f"submission {known.ref}: public {score(verdict.public)}, private {score(verdict.private)}")
    return _note_scores(known, verdict, board)


def _note_scores(known: Submitted, verdict: Verdict, board: Board) -> Submitted:
    if verdict.public is None and verdict.private is None:
        return known
    return board.note(replace(known, public=verdict.public, private=verdict.private), instead_of=known)


def _expected(model: str) -> tuple[float | None, float | None, float | None]:
    """Return what a model is expected to score on the test rows, the mean over tasks; intervals have ensembles alone."""
    if model == "ensemble":
        metrics = read_json(METRICS)
        return metrics["estimate"], metrics["low"], metrics["high"]
    tasks = ({one["name"]: one["expected"] for one in scores["models"]} for scores in read_scores().values())
    values: list[Any] = [expected.get(model) for expected in tasks]
    return None if None in values else fmean(values), None, None


def _commit() -> str:
    """Return the commit for the message, `-dirty` where files differ from it; nothing where there is none."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return f", commit {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return ""
