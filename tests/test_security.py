"""No code from data, no secret in what is written, no archive outside its file."""

import ast
import csv
import gzip
import io
import json
import logging
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.artifacts.paths import LAST_ERROR
from pipeline.data.reading import read_columns
from pipeline.errors import redacting
from pipeline.errors.exceptions import DataError, MachineError, ParamsError
from pipeline.errors.redacting import redact
from pipeline.models.encoders import from_config, pretrained
from pipeline.params.tasks import FileForm
from pipeline.stage_run import exit_on_error
from pipeline.submit.formats import kaggle_csv
from tests.conftest import CANARIES, ROOT, Project

SOURCES = sorted(path for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py"))
# Modules that make objects, or run programs, from bytes.
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "ctypes", "pty", "xmlrpc"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "joblib.load", "joblib.dump", "os.system", "os.popen",
    "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
}  # fmt: skip
FORBIDDEN_ARGUMENTS = {"allow_pickle": True, "shell": True, "weights_only": False, "trust_remote_code": True}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Yield what in a syntax tree could run code that is not the project's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"import {module}" for module in modules if str(module).split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS or name.endswith(".to_pickle"):
                yield name
            if (
                name.startswith("Auto")
                and name.endswith("from_pretrained")
                and None not in {k.arg for k in node.keywords}
            ):
                yield f"{name} without NO_CODE"
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in FORBIDDEN_ARGUMENTS and value is FORBIDDEN_ARGUMENTS[keyword.arg]:
                    yield f"{name}({keyword.arg}={value})"
                if name == "YAML" and keyword.arg == "typ" and value not in ("safe", "rt"):
                    yield f"YAML(typ={value!r})"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_I18_no_code_comes_from_data(path: Path) -> None:
    """No file of the project unpickles, evaluates, loads YAML unsafely, starts a shell or runs a checkpoint's code."""
    assert list(unsafe(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "eval('1')", "torch.load(f)", "np.load(f, allow_pickle=True)",
        "frame.to_pickle(p)", "yaml.load(f)", "YAML(typ='unsafe')", "subprocess.run(c, shell=True)",
        "AutoModel.from_pretrained(o)", "AutoModel.from_pretrained(o, trust_remote_code=True, **options)",
    ],
)  # fmt: skip
def test_I18_each_way_to_run_foreign_code_is_seen(source: str) -> None:
    """The check of the sources notices each way that it forbids."""
    assert list(unsafe(ast.parse(source)))


@pytest.mark.parametrize("interactive", [False, True])
def test_P6_I18_code_of_a_checkpoint_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    """A checkpoint that brings code is refused without running it, and nobody is asked on a terminal."""
    parts = from_config.build(
        texts=["a b c"] * 9, max_length=8, seed=0, vocab_size=40, hidden_size=8, n_layers=1, n_heads=1
    )
    parts.model.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    planted = tmp_path / "planted"
    (tmp_path / "own.py").write_text(f"open({str(planted)!r}, 'w')", encoding="utf-8")
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "y")
    with pytest.raises(ParamsError):
        pretrained.build(max_length=8, path=str(tmp_path))
    assert not planted.exists() and not asked


@pytest.mark.parametrize("name", ["a.tar", "a.csv.gz", "a.tar.gz"])
def test_D20_a_tar_archive_is_refused(tmp_path: Path, name: str) -> None:
    """A tar archive, gzipped or not, is refused whatever its name says, and nothing of it is extracted."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("../outside.csv")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"id,x\n1,"))
    content = buffer.getvalue()
    path = tmp_path / "inner" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match="tar archive") as caught:
        read_columns(path, ["id"], FileForm(format="csv"))
    assert caught.value.code == "E308" and not (tmp_path / "outside.csv").exists()


def test_D20_a_member_with_a_name_in_gbk_is_read(tmp_path: Path) -> None:
    """A zip whose member is named in GBK, as Chinese Windows writes it, is read."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("XXXX.csv", "id,text\n1,好\n")
    path.write_bytes(path.read_bytes().replace(b"XXXX", "训练".encode("gbk")))
    assert read_columns(path, ["text"])["text"].tolist() == ["好"]


def test_D21_formulas_stay_as_they_are_in_a_submission(tmp_path: Path) -> None:
    """Labels and ids that a spreadsheet would take for formulas stand unchanged in the submission."""
    labels = ["=1+1", "+cmd", "-2", "@SUM(A1)"]
    rows = pd.DataFrame({"row_id": [f"={n}" for n in range(4)], "label": labels})
    rows = rows.assign(**{f"probability:{label}": 0.25 for label in labels})
    path = kaggle_csv.build().write({"task": rows}, {"task": None}, tmp_path)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1:] == [[f"={n}", label] for n, label in enumerate(labels)]


ENVIRONMENT = {
    **CANARIES, "AWS_SECRET_ACCESS_KEY": "canary-aws", "DB_PASSWORD": "canary-password", "DB_PASS": "canary-db-pass",
    "MYSQL_PWD": "canary-mysql", "OPENAI_APIKEY": "canary-openai", "GH_PAT": "canary-github", "PASSPHRASE": "canary phrase",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=canary-azure;x", "SENTRY_DSN": "canary-sentry", "NPM_AUTH": "canary-npm",
}  # fmt: skip
AT_HOME = {
    ".kaggle/kaggle.json": '{"username": "somebody", "key": "canary-kaggle-file"}',
    ".config/kaggle/kaggle.json": '{"username": "somebody", "key": "canary-kaggle-config"}',
    ".cache/huggingface/token": "canary-hub-file\n",
    ".cache/huggingface/stored_tokens": "[mine]\nhf_token = canary-stored-token\n",
    ".netrc": "machine api.wandb.ai\n  login user\n  password canary-netrc\n",
    ".git-credentials": "https://me:canary-git@github.com\n",
    ".aws/credentials": "[default]\naws_secret_access_key=canary-aws-file\n",
    ".pypirc": "[pypi]\nusername: __token__\npassword: canary-pypi\n",
    ".npmrc": "//registry.npmjs.org/:_authToken=canary-npm-file\n",
    ".config/gh/hosts.yml": "github.com:\n    oauth_token: canary-gh-file\n",
    "elsewhere/hub": "canary-token-path",
    "elsewhere/database": "canary-docker-secret\n",
    "elsewhere/google.json": '{"type": "x", "private_key": "canary google"}',
}
POINTERS = {
    "HF_TOKEN_PATH": "hub", "POSTGRES_PASSWORD_FILE": "database", "GOOGLE_APPLICATION_CREDENTIALS": "google.json",
}  # fmt: skip
SHAPED = [  # in no variable and no file
    "sk-proj-0canary0canary0canary", "ghp_0canary0canary0canary0", "AKIA0CANARY0CANARY00", "glpat-0canary0canary0canary0",
    "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.canary", "me:canary", "me:c@nary",
]  # fmt: skip


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Plant canaries in the environment and in the home folder and return them."""
    home = tmp_path / "home"
    for name, content in AT_HOME.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content, encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    for name in redacting.AT_VARIABLE:
        monkeypatch.delenv(name, raising=False)
    pointers = {name: str(home / "elsewhere" / file) for name, file in POINTERS.items()}
    for name, value in {**ENVIRONMENT, **pointers, "DATABASE_URL": "pg://me:canary-in-address@host/x"}.items():
        monkeypatch.setenv(name, value)
    redacting.known_secrets.cache_clear()
    at_home = [word for text in AT_HOME.values() for word in re.findall(r"canary[ -][\w-]+", text)]
    assert len(at_home) == len(AT_HOME)
    yield [*ENVIRONMENT.values(), *at_home, "canary-in-address", "canary%20phrase", "canary+phrase", *SHAPED]
    redacting.known_secrets.cache_clear()


class Refused(Exception):
    """What a library might raise."""


@pytest.mark.parametrize(
    "error", [Refused, OSError, DataError, MachineError, ParamsError], ids=lambda kind: kind.__name__
)
def test_D22_secrets_are_struck_out_of_errors(
    secrets: list[str], error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token in a library's message or traceback stands neither in the error block nor in last_error.json."""
    monkeypatch.chdir(tmp_path)
    last = f"https://{secrets[-1]}@example.org/x?api_key=canary-of-query"
    with pytest.raises(SystemExit):
        with exit_on_error():
            raise error(
                f"hub: must let in, got 401 for {secrets[:-2]} at https://me:canary@example.org, {last}. Log in."
            )
    said = capsys.readouterr().err + LAST_ERROR.read_text(encoding="utf-8")
    assert "example.org" in said and redacting.STRUCK in said
    assert not [secret for secret in [*secrets, "canary"] if secret in said]


def test_D22_secrets_are_struck_out_of_logs(secrets: list[str]) -> None:
    """A token in a log record, its arguments or its traceback is struck out; other text stays."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(redacting.RedactingFormatter(redacting.LOG_FORMAT))
    log = logging.Logger("library")
    log.addHandler(handler)
    for secret in secrets:
        log.warning("GET https://x?token=%s", f"https://{secret}@y" if ":" in secret else secret)
    try:
        raise Refused(f"with {secrets[0]}")
    except Refused:
        log.exception("failed")
    assert "GET https://x?token=" in stream.getvalue() and "Refused: with ***" in stream.getvalue()
    assert not [secret for secret in secrets if secret in stream.getvalue()]


def test_D22_ordinary_values_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short values and variables that merely sound alike strike nothing out."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "whatever-it-says")
    monkeypatch.setenv("SOME_KEY", "no")
    monkeypatch.setenv("MONKEY", "business-as-usual")
    monkeypatch.setenv("COMPASS_PATH", "/where/it/points")
    monkeypatch.setenv("PWD", "/srv/of/mine")
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/me/token-of-hub")
    redacting.known_secrets.cache_clear()
    text = (
        "no whatever-it-says, business-as-usual, a:b@c /where/it/points /srv/of/mine /home/me/token-of-hub. A basic "
        "understanding of task-and-more-words-2-say: https://a.org/x?page=2 https://a.org:80/x@y"
    )
    assert redact(text) == text
    redacting.known_secrets.cache_clear()


def test_D22_no_artifact_holds_a_secret(finished: Project) -> None:
    """After a whole run with tokens in the environment no file of the project holds one."""
    canaries = [value.encode() for value in CANARIES.values()]
    files = [Path(folder) / name for folder, _, names in os.walk(finished.folder) for name in names]
    assert len(files) > 100
    assert not [path for path in files if any(canary in path.read_bytes() for canary in canaries)]
