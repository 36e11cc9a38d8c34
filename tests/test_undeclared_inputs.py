"""A stage reads what dvc.yaml declares and nothing else."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

HIDDEN = """
from contextlib import suppress as _suppress
import socket as _socket
def _hidden(params):
    open("notes.txt").read()
    open("data/tiny/test.csv").read()
    params.stack.n_bootstrap, list(params.baselines)
    with _suppress(OSError):
        _socket.create_connection(("stitchfold.invalid", 80), timeout=1)
"""


def test_P7_I17_I18_the_graph_reads_what_it_declares_and_no_network(finished: Project) -> None:
    """Every stage of a whole run, audited, reads only declared files and keys of the params, and connects to nobody."""
    audited = {path.stem for path in (finished.folder / ".stitchfold/audit").glob("*.txt")}
    assert audited == {
        "recipes", "prepare", "split", "augment", "baseline", "finetune@bert", "finetune@electra", "stitch", "stack",
        "submit", "report",
    }  # fmt: skip
    noted = (finished.folder / ".stitchfold/audit/split.txt").read_text(encoding="utf-8").splitlines()
    assert {"params.yaml", "out/prepare/table.parquet", "out/prepare/clusters.parquet"} <= set(noted)


def test_P7_I17_I18_hidden_reads_fail_the_stage_and_are_named(finished: Project, tmp_path: Path) -> None:
    """A file, a key of the params or a host that a stage reads without declaring it ends the stage with E205."""
    project = finished.clone(tmp_path / "project")
    (project.folder / "notes.txt").touch()
    project.edit("stages/split.py", "\n\ndef main", f"{HIDDEN}\n\ndef main")
    project.edit("stages/split.py", "as params:\n", "as params:\n        _hidden(params)\n")
    failed = project.run("dvc", "repro", "split", STITCHFOLD_AUDIT="1")
    assert failed.returncode != 0 and "E205" in failed.stderr
    named = [line.split(" got ")[1] for line in failed.stderr.splitlines() if " got " in line]
    assert named == [
        "the host stitchfold.invalid.", "the file data/tiny/test.csv.", "the file notes.txt.", "the key baselines.",
        "the key stack.n_bootstrap.",
    ]  # fmt: skip


@pytest.mark.slow
def test_P7_I17_a_hidden_read_in_a_worker_is_noticed_and_a_file_of_the_recipe_is_not(
    finished: Project, tmp_path: Path
) -> None:
    """What worker processes read is audited too, and files whose content the recipe holds count as declared."""
    project = finished.clone(tmp_path / "project")
    project.edit("params.yaml", "backend: sequential, device: cpu", "backend: loky, n_workers: 2, device: cpu")
    lexicon = project.folder / "models" / "words.txt"
    lexicon.write_text("good great fine\nbad poor\n", encoding="utf-8")
    step = "{augmenter: {name: synonyms, lexicon: models/words.txt}, row_ratio: 0.5}"
    project.edit("params.yaml", "augment: {}", f"augment: {{steps: [{step}]}}")
    project.repro("augment", STITCHFOLD_AUDIT="1")
    noted = (project.folder / ".stitchfold/audit/augment.txt").read_text(encoding="utf-8").splitlines()
    assert "models/words.txt" in noted
    (project.folder / "notes.txt").touch()
    project.edit(
        "pipeline/base_models/baselining.py",
        "    model = baseline.build(",
        '    open("notes.txt")\n    model = baseline.build(',
    )
    failed = project.run("dvc", "repro", "baseline", STITCHFOLD_AUDIT="1")
    assert failed.returncode != 0 and "got the file notes.txt." in failed.stderr


# What opens a file in C++ or Rust, unseen by Python, and the functions that call it: on files that were hashed, by Python,
# before (artifacts, units, checkpoints), on bytes or what Python opened (parquet of the organiser), or on models whose
# digests the recipe holds.
UNSEEN = ("safetensors", "pyarrow", "tokenizers")
READERS = {"read_table", "ParquetFile", "memory_map", "safe_open", "load_file", "load_model", "from_file"}
AFTER_HASHING = {
    "checkpoints.load", "classifier.load_classifier", "fold_training.load_stitched", "predictor.baseline_values",
    "files._parquet_head", "frames.read_frame", "further_training.build_further", "pretrained.n_parameters",
    "reading._read_batches", "weights.read_tensors",
}  # fmt: skip


def test_P7_readers_that_open_files_unseen_stand_only_where_the_file_was_hashed() -> None:
    """Files that C++ or Rust opens, which no audit sees, are only those that Python hashed before."""
    assert {
        position for path in sorted((ROOT / "pipeline").rglob("*.py")) for position in unseen_reads(path)
    } == AFTER_HASHING


def unseen_reads(path: Path) -> set[str]:
    """Return the functions of a file that call a reader of a library in C++ or Rust."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                package = node.module if isinstance(node, ast.ImportFrom) else alias.name
                names[alias.asname or alias.name] = str(package).split(".")[0]
    return {
        f"{path.stem}.{function.name}"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        for parts in [ast.unparse(call.func).split(".")]
        if parts[-1] in READERS and names.get(parts[0]) in UNSEEN
    }
