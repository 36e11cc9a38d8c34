"""`stitchfold predict` reads what a task's files may be, and its messages name its own options."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from pipeline.bundle import predict
from pipeline.cli import app
from pipeline.data.class_targets import ClassTargets


class Echo:
    """A bundle whose answers are beside the texts that it was given."""

    def __init__(self, *, pairs: bool) -> None:
        self.description = {"reading": {"columns": {"text_pair": "pair" if pairs else None}}}

    def predict_frame(self, texts: list[str], text_pairs: list[str] | None) -> pd.DataFrame:
        given = {"text": texts, "pair": text_pairs or [""] * len(texts)}
        return ClassTargets().answers(np.full((len(texts), 2), 0.5), ["no", "yes"]).assign(**given)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(content: bytes, *options: str, name: str = "texts.csv", pairs: bool = False) -> Result:
        monkeypatch.setattr(predict, "load_bundle", lambda folder: Echo(pairs=pairs))
        (tmp_path / name).write_bytes(content)
        files = ["--model", "bundle", "--input", str(tmp_path / name), "--output", str(tmp_path / "out.csv")]
        return CliRunner().invoke(app, ["predict", *files, *options])

    return run


TIANCHI = '7\t他说"好\t天气\t0\n8\t不\t"是"吗\t1\n'.encode()


def test_D8_the_tianchi_form_of_the_readme_is_predicted(run: Any, tmp_path: Path) -> None:
    """A file without a header, with tabs, and quotes as ordinary characters is predicted as it can be trained on."""
    form = ["--format", "tsv", "--no-header", "--no-quoting"]
    done = run(TIANCHI, *form, "--id-column", "0", "--text-column", "1", "--pair-column", "2", pairs=True)
    assert done.exit_code == 0, done.output
    written = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(written)[:2] == ["id", "label"]
    assert written[["id", "text", "pair"]].to_numpy().tolist() == [["7", '他说"好', "天气"], ["8", "不", '"是"吗']]


def test_several_text_columns_and_another_encoding_are_read(run: Any, tmp_path: Path) -> None:
    columns = ["--text-column", "a", "--text-column", "b", "--id-column", "n"]
    done = run("n,a,b\n1,今天,好\n2,,不\n".encode("gb18030"), "--encoding", "gb18030", *columns)
    assert done.exit_code == 0, done.output
    written = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert written[["n", "text"]].to_numpy().tolist() == [["1", "今天 好"], ["2", "不"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "In this command the columns are --text-column, --pair-column and --id-column"),
        (
            ["--format", "tsv", "--no-header", "--text-column", "1"],
            "or set --no-quoting if quotes are ordinary characters",
        ),
        (["--encoding", "utf9"], "--encoding what 'utf9' is not known"),
        (["--separator", "abc"], "--separator what string should match pattern"),
        (["--encoding", "gb18030", "--format", "tsv", "--no-header", "--text-column", "1"], "--encoding"),
        (["--no-header"], "--text-column what without a header columns are positions from 0, got 'text'"),
        (
            ["--no-header", "--text-column", "0", "--id-column", "id"],
            "--id-column what without a header columns are positions",
        ),
    ],
)
def test_D6_D8_a_file_that_predict_cannot_read_names_the_options(run: Any, options: list[str], message: str) -> None:
    """What `stitchfold predict` cannot read is refused with the options of the command, not with keys of params.yaml."""
    done = run(TIANCHI, *options)
    assert done.exit_code in (2, 3)
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize("pairs", [False, True])
def test_pairs_for_a_model_of_single_texts_and_the_other_way_round_name_the_option(run: Any, pairs: bool) -> None:
    options = [] if pairs else ["--pair-column", "text"]
    done = run(b"text\na\n", *options, pairs=pairs)
    assert done.exit_code == 2
    assert f"--pair-column what bundle reads {'pairs' if pairs else 'single texts'}" in " ".join(done.output.split())
