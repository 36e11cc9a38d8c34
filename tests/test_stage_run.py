"""How commands end: quietly where nobody reads on, at once where Python was started without docstrings."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAYS_MUCH = """
import typer
from pipeline.stage_run import exit_on_error
with exit_on_error():
    for number in range(100_000):
        typer.echo(str(number))
"""
OTHER_PIPE = """
import os
from pipeline.stage_run import exit_on_error
with exit_on_error():
    reading, writing = os.pipe()
    os.close(reading)
    os.write(writing, b"x")
"""


def run(code: str, *options: str, **arguments) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": {"PYTHONPATH": str(ROOT)}}
    return subprocess.Popen([sys.executable, *options, "-c", code], **{**pipes, **arguments})


def test_a_closed_pipe_ends_a_command_quietly(tmp_path: Path) -> None:
    with run(SAYS_MUCH, cwd=tmp_path) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()  # as `head -1` does
        assert process.stderr.read() == "" and process.wait() == 141
    assert not (tmp_path / "out").exists()


def test_another_pipe_that_breaks_is_an_error_as_before(tmp_path: Path) -> None:
    with run(OTHER_PIPE, cwd=tmp_path) as process:
        assert "BrokenPipeError" in process.communicate()[1] and process.returncode == 1


@pytest.mark.parametrize(("option", "ends"), [("-O", 0), ("-OO", 4)])
def test_python_without_docstrings_is_refused_by_its_name(tmp_path: Path, option: str, ends: int) -> None:
    with run(
        "from pipeline.stage_run import exit_on_error\nwith exit_on_error(): pass", option, cwd=tmp_path
    ) as process:
        said = process.communicate()[1]
    assert process.returncode == ends and "params.yaml" not in said and ("-OO" in said) is (ends > 0)
