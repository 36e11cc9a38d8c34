"""The stage graph of a tiny competition in forks of a server that has imported everything, so that a kill costs no import.

A fork does what `dvc repro` does: it deletes the outs of a stage before it runs it, and leaves a finished stage alone.
"""

import importlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import cli
from pipeline.artifacts.files import sha256_of
from pipeline.errors import failpoints
from tests.conftest import ROOT

ENCODERS = ("bert", "electra")
PARAMS = """\
competition: tiny
seed: 7
tasks:
  intent:
    kind: multiclass
    metric: accuracy
    train: data/tiny/train.csv
    test: data/tiny/test.csv
    columns: {id: id, text: synthetic_text, label: label}
    submission: {format: kaggle_csv, sample: data/tiny/sample_submission.csv}
folds: {n_splits: 2, near_duplicate_similarity: 0.85}
training: {epochs: 1, batch_size: 8, learning_rate: 1e-3, checkpoint_seconds: 0.001}
encoders:
  bert:
    source: {name: from_config, architecture: bert, vocab_size: 200, hidden_size: 8, n_layers: 1, n_heads: 2}
    max_length: 16
  electra:
    source: {name: from_config, architecture: electra, vocab_size: 200, hidden_size: 8, n_layers: 1, n_heads: 2}
    max_length: 16
    head: {name: text_cnn, n_filters: 4}
stitch: {heads: {cnn: {name: text_cnn, n_filters: 4}}, base: finetuned}
baselines: {tfidf: tfidf_logistic}
stack: {ladder: [mean, logistic], n_bootstrap: 50}
submit: {}
augment: {steps: [{augmenter: {name: random_words, action: swap}, row_ratio: 0.5}]}
run: {backend: sequential, device: cpu}
"""
MARKS = Path(".finished")
LOG = Path("log.txt")
HITS = Path("hits.json")
# What tells times, the digests of that, and what went wrong on the way.
NO_RESULTS = {"history.json", "manifest.json", "report.html", "last_error.json"}
NO_RESULTS |= {f"{name}.sha256" for name in NO_RESULTS}

PRELOAD = [
    "tests.faults.preloaded",
    "pytest",
    "pipeline.base_models.finetuning",
    "pipeline.stitch.stitching",
    "pipeline.augment.augmenters.random_words",
    "pipeline.base_models.baselines.tfidf_logistic",
    "sklearn.model_selection",
]
PRELOAD += [f"transformers.models.{name}.modeling_{name}" for name in ENCODERS]
PRELOAD += [f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("[a-z]*.py"))]
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(PRELOAD)


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml: its name, the arguments of its module's command line, and its outs."""

    name: str
    outs: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        return self.name.partition("@")[2].split()

    @property
    def mark(self) -> Path:
        return MARKS / self.name

    def run(self) -> None:
        """Run it in this process."""
        for out in map(Path, self.outs):
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        sys.argv = [self.name, *self.arguments]
        importlib.import_module(f"stages.{self.name.partition('@')[0]}").main()
        self.mark.touch()


def graph() -> Iterator[Stage]:
    """Yield the stages of dvc.yaml in order."""
    stages: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        for key in ENCODERS if "foreach" in stage else ("",):
            outs = [stage.get("do", stage).get(kind, []) for kind in ("outs", "metrics", "plots")]
            paths = [out if isinstance(out, str) else next(iter(out)) for some in outs for out in some]
            yield Stage(f"{name}@{key}" if key else name, tuple(path.replace("${key}", key) for path in paths))


def make(folder: Path) -> Path:
    """Lay out a tiny competition in a folder and return it."""
    from pipeline.data.demo import generate

    generate(folder / "data" / "tiny", seed=3, n_train=60, n_test=12)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (folder / MARKS).mkdir()
    return folder


def make_after_recipes(folder: Path, finished: Path) -> Path:
    """Lay out the same competition with the recipes of a finished run, which take longer than any other stage."""
    make(folder)
    shutil.copytree(finished / "out" / "recipes", folder / "out" / "recipes")
    (folder / MARKS / "recipes").touch()
    return folder


def repro(
    folder: Path,
    *,
    failpoint: str | None = None,
    patch: Callable[[], object] | None = None,
    last: str | None = None,
) -> None:
    """Run the stages that are not finished, in this process: the work of a fork.

    Args:
        folder: of the competition.
        failpoint: value of `STITCHFOLD_FAILPOINT`; of any value the passages are counted, and noted at the end.
        patch: called before the first stage.
        last: the stage to end with; None is all of them.
    """
    if failpoint is not None:
        os.environ["STITCHFOLD_FAILPOINT"] = failpoint
    enter(folder)
    if patch is not None:
        patch()
    for stage in graph():
        if not stage.mark.exists():
            stage.run()
        if stage.name == last:
            break
    HITS.write_text(json.dumps(failpoints.hits), encoding="utf-8")


def command(folder: Path, words: list[str]) -> None:
    """Run a `stitchfold` command in this process: the work of a fork."""
    enter(folder)
    sys.argv = words
    cli.main()


def enter(folder: Path) -> None:
    """Make a folder this process's own, with what it prints."""
    os.chdir(folder)
    with LOG.open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())


def start(folder: Path, **options: Any) -> ForkServerProcess:
    """Start `repro` in a fork and return it."""
    process = forks.Process(target=repro, args=(folder,), kwargs=options)
    process.start()
    return process


def finish(folder: Path, **options: Any) -> None:
    """Run the rest of the graph undisturbed.

    Raises:
        RuntimeError: if a stage fails.
    """
    process = start(folder, **options)
    process.join()
    if process.exitcode:
        raise RuntimeError(
            f"{folder}: exit code {process.exitcode}\n{(folder / LOG).read_text(encoding='utf-8')[-3000:]}"
        )


def copy(folder: Path, target: Path) -> Path:
    """Copy a competition with everything computed; files that are one by hard links stay one."""
    known: dict[int, Path] = {}

    def link_or_copy(source: str, destination: str) -> None:
        inode = os.stat(source).st_ino
        if inode in known:
            os.link(known[inode], destination)
        else:
            shutil.copy2(source, destination)
            known[inode] = Path(destination)

    shutil.copytree(folder, target, copy_function=link_or_copy)
    return target


def results(folder: Path) -> dict[str, str]:
    """Return the digests of everything under out/ that must be the same whatever happened to the run.

    A file that a killed write left under another name is no result; `stitchfold doctor` removes it.
    """
    files = [path for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".tmp"]
    paths = [path for path in files if path.name not in NO_RESULTS]
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(paths)}


def differences(folder: Path, expected: dict[str, str]) -> list[str]:
    """Return a line for each result that is missing, further, or not as expected."""
    now = results(folder)
    return [f"{path} differs" for path in sorted(now | expected) if now.get(path) != expected.get(path)]


def finished_units(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Return the name, inode and time of each finished unit that is kept; states are removed when they were used."""
    results = {}
    for result in (folder / ".stitchfold" / "units").glob("*/result"):
        name = json.loads((result.parent / "unit.json").read_text(encoding="utf-8"))["name"]
        if not name.endswith("/states"):
            results[result.parent.name] = (name, result.stat().st_ino, result.stat().st_mtime_ns)
    return results
