"""Damage: one file of a finished or interrupted run is changed behind everybody's back, as a failing disk does.

Whoever reads it next must notice, set it aside or say which file it is and how to make it again; then the results must be
the same to the byte.
"""

import json
import os
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts.files import MEND
from tests.faults import harness
from tests.faults.kills import Trial

WAYS = ("flip", "truncate", "zero", "remove")


@dataclass(frozen=True)
class Kind:
    """A kind of artifact: an example of it, and who reads it next.

    `path` may name a unit, as `{bert/intent-r0-f0}`, which stands for its key. `reader` is a stage or a command. What is
    `set_aside` the reader makes anew by itself, what is `ignored` it does without; else its error must say what to do.
    With `interrupted_at` the run is killed there before the damage.
    """

    name: str
    path: str
    reader: str
    then: Literal["told", "set aside", "ignored"] = "told"
    interrupted_at: str | None = None


OUT_KINDS = [
    Kind("table", "out/prepare/table.parquet", "split"),
    Kind("clusters", "out/prepare/clusters.parquet", "split"),
    Kind("likeness to the test file", "out/prepare/likeness.parquet", "split"),
    Kind("audit", "out/prepare/audit.json", "report"),
    Kind("folds", "out/split/folds.parquet", "augment"),
    Kind("recipe of an encoder", "out/recipes/encoders/bert.json", "finetune@bert"),
    Kind("recipe of a stage", "out/recipes/stages/baseline.json", "baseline"),
    Kind("copies", "out/augment/copies.parquet", "finetune@bert"),
    Kind("barred copies", "out/augment/barred.parquet", "finetune@bert"),
    Kind("summary of augmentation", "out/augment/augment.json", "report"),
    Kind("predictions of a baseline", "out/baseline/tfidf/intent.parquet", "stack"),
    Kind("predictions of an encoder", "out/finetune/bert/intent.parquet", "stack"),
    Kind("predictions of a pair", "out/stitch/bert+electra+cnn/intent.parquet", "stack"),
    Kind("predictions of the ensemble", "out/stack/ensemble/intent.parquet", "submit"),
    Kind("history", "out/finetune/bert/history.json", "stitch"),
    Kind("fold model", "out/finetune/bert/models/intent-r0-f0/model.safetensors", "stitch"),
    Kind("manifest of a fold model", "out/finetune/bert/models/intent-r0-f0/manifest.json", "stitch"),
    Kind("scores", "out/stack/scores.json", "report"),
    Kind("metrics", "out/metrics.json", "stitchfold show"),
    Kind("submission", "out/submit/submission.csv", "stitchfold validate"),
    Kind("record of the submission", "out/submit/submission.json", "report"),
    Kind("digest of the table", "out/prepare/table.parquet.sha256", "split"),
    Kind("digest of predictions", "out/finetune/electra/intent.parquet.sha256", "stack"),
    Kind("digest of the submission", "out/submit/submission.csv.sha256", "stitchfold validate"),
    Kind("record of a run", ".stitchfold/last_run/finetune-bert.json", "report", "ignored"),
]
CHECKPOINT = ".stitchfold/units/{bert/intent-r0-f1}/checkpoints/step-*/"
STORE_KINDS = [
    Kind(f"unit's {what}", f".stitchfold/units/{{{unit}}}/result/{file}", reader, "set aside")
    for what, unit, file, reader in (
        ("model", "bert/intent-r0-f0", "model.safetensors", "finetune@bert"),
        ("history", "bert/intent-r0-f0", "history.json", "finetune@bert"),
        ("manifest", "bert/intent-r0-f0", "manifest.json", "finetune@bert"),
        ("predictions", "bert/intent-r0-f0/predict", "predictions.parquet", "finetune@bert"),
        ("head", "bert+electra+cnn/intent-r0-f1", "model.safetensors", "stitch"),
        ("copies", "random_words swap/intent-r0-f0-0", "copies.parquet", "augment"),
        ("baseline", "tfidf/intent-r0-f0", "predictions.parquet", "baseline"),
    )
]
CHECKPOINT_KINDS = [
    Kind(f"checkpoint's {file}", CHECKPOINT + file, "finetune@bert", "set aside", interrupted_at="checkpointed:7")
    for file in ("tensors.safetensors", "state.json", "manifest.json")
]
# What no stage reads, and DVC's own copy of what one reads.
VERIFIED_KINDS = [
    Kind("ensemble", "out/stack/intent.json", "stitchfold verify"),
    Kind("report", "out/report/report.html", "stitchfold verify"),
    Kind("plot", "out/plots/scores.csv", "stitchfold verify"),
]
KINDS = [*OUT_KINDS, *STORE_KINDS, *CHECKPOINT_KINDS]


def damage(path: Path, way: str) -> None:
    """Change a file where it lies, under all its names, and leave its time as it was."""
    before = path.stat()
    if way == "remove":
        path.unlink()
        return
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    if way == "flip":
        content[half] ^= 1
    else:
        content[half:] = b"" if way == "truncate" else bytes(len(content) - half)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def find(folder: Path, kind: Kind) -> Path:
    """Return the file of a kind in a project; of checkpoints the newest."""
    notes = (folder / ".stitchfold" / "units").glob("*/unit.json")
    keys = {json.loads(note.read_text(encoding="utf-8"))["name"]: note.parent.name for note in notes}
    pattern = re.sub(r"\{(.+?)\}", lambda unit: keys[unit[1]], kind.path)
    return max(folder.glob(pattern))


def damaged(finished: Path, folder: Path, kind: Kind, way: str, expected: dict[str, str]) -> Trial:
    """Damage a copy of a finished run, have it read, follow the message, and compare the results."""
    begun = time.monotonic()
    if kind.interrupted_at is None:
        harness.copy(finished, folder)
    else:
        harness.start(harness.make(folder), failpoint=kind.interrupted_at).join()
    path = find(folder, kind)
    damage(path, way)
    lost = []
    code = read(folder, kind.reader)
    if kind.then == "told":
        lost += follow(folder, kind, path, code)
    elif code:
        lost.append(f"the reader failed: {last_error(folder)}")
    elif kind.then == "set aside" and "set aside as" not in (folder / harness.LOG).read_text(encoding="utf-8"):
        lost.append("not noticed")
    harness.finish(folder)
    lost += harness.differences(folder, expected)
    return Trial((way,), tuple(lost), time.monotonic() - begun)


def follow(folder: Path, kind: Kind, path: Path, code: int) -> list[str]:
    """Do what the error says; return what is wrong with it."""
    if not code:
        return ["not noticed"]
    error = last_error(folder)
    problem = error["problems"][0]
    lost = [] if error["code"] == "E402" and code == 4 else [f"must be E402, got {error['code']}, exit code {code}"]
    whole = str(path.relative_to(folder)).removesuffix(".sha256")
    if not whole.startswith(problem["where"]):
        lost.append(f"must name {whole}, got {problem['where']!r}")
    if MEND not in problem["mend"]:
        return [*lost, f"must say {MEND}, got {problem['mend']!r}"]
    # As doctor and dvc do: the damaged file goes, so the stage that makes it runs again.
    maker = next(stage for stage in harness.graph() if any(whole.startswith(out) for out in stage.outs))
    (folder / maker.mark).unlink()
    if read(folder, kind.reader):
        lost.append(f"after the remedy: {last_error(folder)['message']}")
    return lost


def read(folder: Path, reader: str) -> int:
    """Run a stage, or a command, and return its exit code."""
    command = shlex.split(reader)
    if len(command) == 1:
        (folder / harness.MARKS / reader).unlink(missing_ok=True)
        process = harness.start(folder)
    else:
        harness.finish(folder)
        process = harness.forks.Process(target=harness.command, args=(folder, command))
        process.start()
    process.join()
    return int(process.exitcode or 0)


def last_error(folder: Path) -> dict[str, Any]:
    """Return the error that the last stage or command left."""
    error: dict[str, Any] = json.loads((folder / "out" / "last_error.json").read_text(encoding="utf-8"))
    return error
