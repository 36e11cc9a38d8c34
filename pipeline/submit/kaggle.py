"""Kaggle's board, through the official client: the one place that knows it.

Errors are told apart by their type and HTTP status. The client prints what it likes: secrets are struck out of that too.
"""

import io
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import MachineError
from pipeline.errors.redacting import redact

INSTALL = "pip install -e '.[kaggle]'"
TOKEN = "Make a token at https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token, or run kaggle auth login."
PAGE = 100  # submissions asked for at once, the newest first
KEPT = "What was uploaded stands in boards/; run stitchfold submit again, which uploads nothing twice."


@dataclass(frozen=True)
class Verdict:
    """What the board says of a submission: not `done` while it waits, `error` where it could not be scored."""

    done: bool = False
    public: float | None = None
    private: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Notebook:
    """A version of a notebook that writes the submission where it is scored."""

    name: str
    """`<owner>/<notebook>`."""
    version: int
    file: str


class Kaggle:
    """A competition of Kaggle, by the name in its address."""

    def __init__(self, name: str) -> None:
        self.name = name
        with self._asking():
            self._api = official_client().api
            self._api.authenticate()

    def refuse_without_attempts(self) -> None:
        """Refuse to go on where the day's or the competition's submissions are used up.

        Raises:
            MachineError: if they are.
        """
        with self._asking():
            limits = self._api.competition_get_submission_limits(self.name)
        if limits.num_allowed_now == 0 and limits.num_total > 0:  # all are zero for who is on no team yet
            when = "No more are allowed" if limits.limited_by_total else "Wait until midnight UTC"
            raise self._refused(
                f"no attempt left after {limits.num_today} today, {limits.num_total} in all", f"{when}."
            )

    def upload(self, what: Path | Notebook, message: str) -> str:
        """Upload a file, or name a notebook's version, and return the board's number of it, "" where nothing arrived."""
        with self._asking():
            if isinstance(what, Path):
                answer = self._api.competition_submit(str(what), message, self.name)
            else:
                answer = self._api.competition_submit_code(what.file, message, self.name, what.name, what.version)
        return str(answer.ref or "")

    def find(self, message: str, *, known: Collection[str]) -> str:
        """Return the board's number of the newest submission with a message that is not a known one, "" if there is none."""
        with self._asking():
            listed = self._api.competition_submissions(self.name, page_size=PAGE) or []
        refs = (str(one.ref) for one in listed if one.description == message)
        return next((ref for ref in refs if ref not in known), "")

    def verdict(self, ref: str) -> Verdict:
        """Return what the board says of a submission now."""
        try:
            with self._asking():
                answer = self._api.get_submission(int(ref))
        except MachineError as error:
            if _status(error.__cause__) == 404:  # one that has just come is not listed yet
                return Verdict()
            raise
        if answer.status.name == "ERROR":
            return Verdict(done=True, error=answer.error_description or "no reason given")
        done = answer.status.name == "COMPLETE"
        public, private = (
            float(text) if done and text else None for text in (answer.public_score, answer.private_score)
        )
        return Verdict(done, public, private)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the client something; its errors become ours."""
        from requests.exceptions import RequestException  # comes with the client

        try:
            with redirect_stdout(_Redacted()), redirect_stderr(_Redacted()):
                yield
        except SystemExit as error:  # so it says that there is no token, or that a token is not one
            text = f"Kaggle's token: must be there and be known to Kaggle, got none that is. {TOKEN}"
            raise MachineError(text, code="E410", kept=KEPT) from error
        except RequestException as error:
            if (status := _status(error)) is None:
                text = (
                    f"kaggle.com: must be reachable, got {type(error).__name__}. Look at the network, and run it again."
                )
                raise MachineError(text, code="E409", kept=KEPT) from error
            raise self._refused_as(status, str(error)) from error

    def _refused_as(self, status: int, said: str) -> MachineError:
        page = f"https://www.kaggle.com/competitions/{self.name}"
        mend = {
            400: f"Join the competition, and look at its deadline and daily limit: {page}",
            401: TOKEN,
            403: f"Accept the rules at {page}/rules; if you have, the name is wrong or the token may not submit.",
            404: f"Look whether {page} is there; of a notebook look at its owner, name and version too.",
            429: "Wait some minutes, and run it again.",
        }
        if status >= 500:
            return MachineError(f"kaggle.com: must answer, got {said}. Run it again later.", code="E409", kept=KEPT)
        return self._refused(said, mend.get(status, f"Look at {page}"))

    def _refused(self, said: str, mend: str) -> MachineError:
        text = f"competition {self.name}: Kaggle must take the submission, got {said}. {mend}"
        return MachineError(text, code="E410", kept=KEPT)


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status with which Kaggle answered; a response of an error is falsy."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


class _Redacted(io.TextIOBase):
    """Stands before the real stderr and strikes out secrets."""

    def __init__(self) -> None:
        self._real = sys.stderr

    def write(self, text: str) -> int:
        """Write a text without them."""
        return self._real.write(redact(text))

    def flush(self) -> None:
        """Flush what lies behind."""
        self._real.flush()


def official_client() -> Any:
    """Return the module `kaggle`.

    Raises:
        MachineError: if it is not installed.
    """
    try:
        import kaggle
    except ImportError as error:
        text = f"kaggle: the official client must be installed, got {error}. Run {INSTALL}"
        raise MachineError(text, kept=KEPT) from error
    return kaggle
