"""Kaggle's board, through the official client: the one place that knows it. Its errors are told apart by type and status."""

import io
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from requests.exceptions import RequestException

from pipeline.errors.exceptions import MachineError

TOKEN = "Make a token at https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token, or run kaggle auth login."
MEND = {
    400: "Look at {page}: whether you joined, the deadline, the daily limit, the form of the file.",
    401: TOKEN,
    403: "Accept the rules: {page}/rules. If you have, the name is wrong, or the token may not submit.",
    404: "Look whether there is {page}, and, of a notebook, its owner, name and version.",
    429: "Wait some minutes, and run it again.",
}
KEPT = "What was uploaded stands in boards/: stitchfold submit, run again, uploads nothing twice."
PAGE = 100  # submissions asked for at once, the newest first
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the board says of a submission: not `done` while it waits, `error` where it could not be scored."""

    done: bool = False
    public: float | None = None
    private: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Notebook:
    """A version of `<owner>/<notebook>`, which writes the submission where it is scored."""

    name: str
    version: int
    file: str


class Kaggle:
    """A competition of Kaggle, by the name in its address."""

    def __init__(self, name: str) -> None:
        self.page = f"https://www.kaggle.com/competitions/{name}"
        self.name = name
        with self._asking():
            import kaggle

            self._api = kaggle.api
            self._api.authenticate()

    def refuse_without_attempts(self) -> None:
        """Refuse to go on where the day's or the competition's submissions are used up.

        Raises:
            MachineError: if they are.
        """
        with self._asking():
            limits = self._api.competition_get_submission_limits(self.name)
        if limits.num_allowed_now == 0 and limits.num_total > 0:  # who is on no team yet has zeros everywhere
            when = "No more are allowed." if limits.limited_by_total else "Wait until midnight UTC."
            raise self._refused(f"{limits.num_today} today and {limits.num_total} in all, which are all it takes", when)

    def upload(self, what: Path | Notebook, message: str) -> str:
        """Upload a file, or name a notebook's version, and return the board's number of it, "" where nothing arrived."""
        with self._asking():
            if isinstance(what, Path):
                answer = self._api.competition_submit(str(what), message, self.name, quiet=True)
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
            if _status(error.__cause__) == 404:  # one that has just come is not there yet
                return Verdict()
            raise
        if answer.status.name == "ERROR":
            return Verdict(done=True, error=answer.error_description or "no reason")
        if answer.status.name != "COMPLETE":
            return Verdict()
        public, private = (float(text) if text else None for text in (answer.public_score, answer.private_score))
        return Verdict(done=True, public=public, private=private)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the client something: its errors become ours, and what it prints goes to the log, which knows no secrets."""
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said):
                yield
        except ImportError as error:
            text = f"kaggle: the official client must be installed, got {error}. Run pip install -e '.[kaggle]'"
            raise MachineError(text, kept=KEPT) from error
        except SystemExit as error:  # so it says that there is no token, or none that Kaggle knows
            raise self._refused("no token that Kaggle knows", TOKEN) from error
        except RequestException as error:
            status = _status(error)
            if status is None or status >= 500:
                got = type(error).__name__ if status is None else error
                text = f"kaggle.com: must answer, got {got}. Look at the network, and run it again."
                raise MachineError(text, code="E409", kept=KEPT) from error
            mend = MEND.get(status, "Look at {page}").format(page=self.page)
            raise self._refused(f"{error} (HTTP {status})", mend) from error
        for line in said.getvalue().splitlines():
            log.info("kaggle: %s", line)

    def _refused(self, got: str, mend: str) -> MachineError:
        text = f"competition {self.name}: Kaggle must take the submission, got {got}. {mend}"
        return MachineError(text, code="E410", kept=KEPT)


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error; a response that is one is falsy."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)
