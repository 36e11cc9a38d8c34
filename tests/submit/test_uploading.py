"""To the board and back with a client that is none: nothing is uploaded twice, whatever is cut off; errors help."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from requests import Response
from requests.exceptions import ConnectionError, HTTPError
from typer.testing import CliRunner

from pipeline.artifacts.boards import Board, Submitted
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import METRICS, SCORES, SUBMISSION
from pipeline.cli import app
from pipeline.errors.redacting import known_secrets
from pipeline.submit import uploading
from tests.competition import write_params
from tests.conftest import ROOT

SECRET = "canaryOfKaggle0123456789abcdef"


def refusal(status: int, said: str = "no") -> HTTPError:
    response = Response()
    response.status_code = status
    return HTTPError(f"{status} {said}", response=response)


@dataclass
class FakeApi:
    """The client's methods that are used; `fails` maps the name of one to what it raises once."""

    answers: list[Any] = field(default_factory=list)
    """What the board says of a submission, in order; the last one for ever."""
    listed: list[Any] = field(default_factory=list)
    uploaded: list[Any] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)
    left: int = 4
    loses: bool = False

    def authenticate(self) -> None:
        print(f"a client that prints what it likes: {SECRET}")
        self._fail("authenticate")

    def competition_get_submission_limits(self, name: str) -> Any:
        self._fail("limits")
        return SimpleNamespace(num_allowed_now=self.left, num_today=1, num_total=7, limited_by_total=False)

    def competition_submit(self, file: str, message: str, name: str, quiet: bool) -> Any:
        self._fail("before")
        if self.loses:
            return SimpleNamespace(ref=0, message="lost")
        self.uploaded.append(Path(file).read_text())
        return self._arrive(message)

    def competition_submit_code(self, file: str, message: str, name: str, kernel: str, version: int) -> Any:
        self.uploaded.append((name, kernel, version, file))
        return self._arrive(message)

    def _arrive(self, message: str) -> Any:
        ref = 100 + len(self.uploaded)
        self.listed.insert(0, SimpleNamespace(ref=ref, description=message))
        self._fail("after")
        return SimpleNamespace(ref=ref)

    def competition_submissions(self, name: str, page_size: int) -> list[Any]:
        return self.listed

    def get_submission(self, ref: int) -> Any:
        self._fail("verdict")
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _fail(self, where: str) -> None:
        if (error := self.fails.pop(where, None)) is not None:
            raise error


def scored(public: str, private: str = "", status: str = "COMPLETE", error: str = "") -> Any:
    return SimpleNamespace(
        status=SimpleNamespace(name=status), public_score=public, private_score=private, error_description=error
    )


PENDING = scored("", status="PENDING")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A checked submission in `out/`, a client that is none, and a clock that runs only while one waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    known_secrets.cache_clear()
    write_params(tmp_path, model="ensemble")
    made("id,label\n1,a\n")
    fake, now = FakeApi(answers=[PENDING, PENDING, scored("0.8125")]), [0.0]
    monkeypatch.setitem(sys.modules, "kaggle", SimpleNamespace(api=fake))
    monkeypatch.setattr(uploading, "validate_submissions", lambda params: [Path("out/submit/submission.csv")])
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(uploading, "time", clock)
    yield fake
    known_secrets.cache_clear()


def made(content: str, *, estimate: float = 0.8, model: str = "ensemble") -> None:
    """Lay out what `dvc repro` leaves."""
    path = Path("out/submit/submission.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    write_json(SUBMISSION, {"path": str(path), "sha256": uploading.sha256_of(path), "model": model})
    write_json(METRICS, {"estimate": estimate, "low": estimate - 0.02, "high": estimate + 0.02})


def run(*arguments: str, code: int = 0) -> str:
    """Run a command and return all that it prints."""
    done = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    assert SECRET not in done.output
    return done.output


def rows() -> list[Submitted]:
    return Board("c").read()


def test_a_submission_is_uploaded_waited_for_and_noted_with_what_was_expected(api: FakeApi) -> None:
    output = run("submit", "--competition", "titanic")
    assert api.uploaded == ["id,label\n1,a\n"]
    [row] = rows()
    assert (row.estimate, row.low, row.high, row.public, row.private, row.ref) == (
        0.8,
        pytest.approx(0.78),
        pytest.approx(0.82),
        0.8125,
        None,
        "101",
    )
    assert row.file == f"sha256:{uploading.sha256_of(Path('out/submit/submission.csv'))}"
    assert row.message.startswith("ensemble 0.8000 [0.7800, 0.8200]") and row.message.endswith(f"({row.file[:19]})")
    assert "0.8125" in output and "1 of 1 public scores lie in the interval" in output


def test_the_same_bytes_are_not_uploaded_twice_unless_asked_for(api: FakeApi) -> None:
    run("submit", "--competition", "titanic")
    assert "not uploaded again" in run("submit", "--competition", "titanic")
    assert len(api.uploaded) == len(rows()) == 1
    run("submit", "--competition", "titanic", "--again")
    assert len(api.uploaded) == len(rows()) == 2
    made("id,label\n1,b\n")
    run("submit", "--competition", "titanic", "--message", "other labels")
    assert [row.message.partition(" (")[0] for row in rows()][2:] == ["other labels"]


@pytest.mark.parametrize("where", ["before", "after", "verdict"])
@pytest.mark.parametrize("cut", [KeyboardInterrupt(), ConnectionError("no route")], ids=["ctrl-c", "no network"])
def test_what_is_cut_off_at_any_place_is_uploaded_once(api: FakeApi, where: str, cut: BaseException) -> None:
    api.fails[where] = cut
    interrupted = isinstance(cut, KeyboardInterrupt)
    output = run("submit", "--competition", "titanic", code=130 if interrupted else 4)
    assert ("E130" if interrupted else "E409") in output and "again" in output
    assert [row.public for row in rows()] == [None], "noted before the upload"
    run("submit", "--competition", "titanic")
    assert len(api.uploaded) == 1
    assert [(row.public, row.ref) for row in rows()] == [(0.8125, "101")]


def test_an_upload_that_was_cut_off_by_itself_is_told(api: FakeApi) -> None:
    api.loses = True
    assert "must arrive whole" in run("submit", "--competition", "titanic", code=4)
    api.loses = False
    run("submit", "--competition", "titanic")
    assert len(api.uploaded) == len(rows()) == 1


def test_waiting_ends_and_goes_on_with_the_next_call(api: FakeApi) -> None:
    api.answers = [PENDING]
    assert "not scored yet" in run("submit", "--competition", "titanic", "--wait-minutes", "2")
    api.answers = [scored("0.79", "0.77")]
    run("submit", "--competition", "titanic")
    assert len(api.uploaded) == 1 and (rows()[0].public, rows()[0].private) == (0.79, 0.77)


def test_a_submission_that_has_just_come_and_is_not_listed_yet_is_waited_for(api: FakeApi) -> None:
    api.fails["verdict"] = refusal(404)
    run("submit", "--competition", "titanic")
    assert rows()[0].public == 0.8125


@pytest.mark.parametrize(
    ("where", "error", "code", "said"),
    [
        ("authenticate", SystemExit(1), "E410", "access_token"),
        ("limits", refusal(401), "E410", "access_token"),
        ("limits", refusal(403), "E410", r"competitions/titanic/rules"),
        ("limits", refusal(404), "E410", "there is https://www.kaggle.com/competitions/titanic,"),
        ("before", refusal(400, f"bad {SECRET}"), "E410", "daily limit"),
        ("before", refusal(429), "E410", "Wait some minutes"),
        ("before", refusal(418), "E410", "Look at https"),
        ("limits", refusal(503), "E409", "must answer, got 503"),
        ("limits", ConnectionError(f"no route for {SECRET}"), "E409", "network"),
    ],
)
def test_what_the_board_refuses_is_told_with_its_remedy_and_leaves_nothing_behind(
    api: FakeApi, where: str, error: BaseException, code: str, said: str
) -> None:
    api.fails[where] = error
    output = run("submit", "--competition", "titanic", code=4)
    assert code in output and said in output
    assert rows() == [] and SECRET not in Path("out/last_error.json").read_text()


def test_a_day_without_attempts_is_told_before_anything_is_uploaded(api: FakeApi) -> None:
    api.left = 0
    output = run("submit", "--competition", "titanic", code=4)
    assert "1 today and 7 in all" in output and "Wait until midnight UTC." in output
    assert api.uploaded == rows() == []


def test_what_the_board_cannot_score_is_an_error_each_time(api: FakeApi) -> None:
    api.answers = [scored("", status="ERROR", error="Evaluation Exception")]
    for _ in range(2):
        assert "got Evaluation Exception" in run("submit", "--competition", "titanic", code=4)
    assert len(api.uploaded) == 1


def test_without_the_client_the_error_says_how_to_install_it(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", None)
    assert "pip install -e '.[kaggle]'" in run("submit", "--competition", "titanic", code=4)


def test_a_version_of_a_notebook_is_submitted_by_its_name(api: FakeApi) -> None:
    run("submit", "--competition", "titanic", "-k", "me/infer", "-v", "3")
    assert api.uploaded == [("titanic", "me/infer", 3, "submission.csv")]
    assert [(row.file, row.estimate) for row in rows()] == [("me/infer/3/submission.csv", 0.8)]
    assert "not uploaded again" in run("submit", "--competition", "titanic", "-k", "me/infer", "-v", "3")


@pytest.mark.parametrize("arguments", [["-k", "me/infer"], ["-v", "3"], ["-k", "infer", "-v", "3"]])
def test_half_a_notebook_is_refused(api: FakeApi, arguments: list[str]) -> None:
    assert "Give both" in run("submit", "--competition", "titanic", *arguments, code=2)


def test_the_competition_is_that_of_the_params_or_asked_for(api: FakeApi) -> None:
    assert "must name the competition" in run("submit", code=2)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("submit: {", "submit: {kaggle: titanic, "))
    run("submit", "-k", "me/infer", "-v", "3")
    assert api.uploaded[0][0] == "titanic"


def test_a_file_that_is_written_meanwhile_is_not_uploaded(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    check = lambda self: Path("out/submit/submission.csv").write_text("id,label\n1,c\n")  # noqa: E731
    monkeypatch.setattr("pipeline.submit.kaggle.Kaggle.refuse_without_attempts", check)
    assert "E312" in run("submit", "--competition", "titanic", code=3)
    assert api.uploaded == rows() == []


def test_scores_of_other_boards_are_entered_by_hand_and_then_nothing_is_uploaded(api: FakeApi) -> None:
    assert run("board") == ""
    assert "0.8150" in run("board", "--score", "0.815")
    run("board", "--private", "0.79")
    assert [(row.public, row.private, row.ref, row.estimate) for row in rows()] == [(0.815, 0.79, "", 0.8)]
    assert "must be a number" in run("board", "--score", "nan", code=2)
    assert "not uploaded again" in run("submit", "--competition", "titanic")
    assert api.uploaded == []


def test_private_scores_are_fetched_once_they_are_there(api: FakeApi) -> None:
    run("submit", "--competition", "titanic")
    made("id,label\n1,b\n")
    run("board", "--score", "0.5")
    api.answers = [scored("0.8125", "0.8")]
    run("board", "--fetch", "--competition", "titanic")
    assert [row.private for row in rows()] == [0.8, None]


def test_a_single_model_is_noted_with_what_it_is_expected_to_score_and_no_interval(api: FakeApi) -> None:
    made("id,label\n1,a\n", model="bert")
    tasks = {name: {"models": [{"name": "bert", "expected": value}]} for name, value in (("a", 0.6), ("b", 0.7))}
    write_json(SCORES, {"tasks": tasks})
    run("board", "--score", "0.66")
    assert [(row.estimate, row.low, row.high) for row in rows()] == [(pytest.approx(0.65), None, None)]


def test_what_the_client_prints_is_logged_without_secrets(api: FakeApi) -> None:
    fake = f"sys.modules['kaggle'] = SimpleNamespace(api=SimpleNamespace(authenticate=lambda: print('key {SECRET}')))"
    start = "from pipeline.errors.redacting import start_logging; start_logging()"
    ask = "from pipeline.submit.kaggle import Kaggle; Kaggle('x')"
    code = f"import sys; from types import SimpleNamespace; {fake}; {start}; {ask}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "kaggle: key ***" in done.stderr and SECRET not in done.stdout + done.stderr
