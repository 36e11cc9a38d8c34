"""`stitchfold init`: a params.yaml for the files of a competition, whose comments say why each choice."""

import json
import os
import re
import shlex
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from pipeline import components
from pipeline.artifacts.files import write_atomically
from pipeline.data.auditing import count_tokens
from pipeline.errors.exceptions import DataError, ParamsError, expected
from pipeline.params.loading import load_params
from pipeline.start.columns import Columns, find_columns, relate_pairs
from pipeline.start.labels import Labels, kind_for, look_at_labels, sample_values
from pipeline.start.machine import find_checkpoints, this_machine
from pipeline.start.roles import Ask, TaskFiles, answer_columns, find_tasks

TEMPLATE = Path(__file__).with_name("params.yaml.jinja")
DATA = Path("data")
PLAIN = re.compile(r"[^\W\d](?:[\w./ -]*\w)?")
WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
LONG, PIECES = 0.95, 1.4  # share of the texts that are read whole, and pieces that a word is cut into, roughly
SHORTEST, LONGEST = 32, {False: 128, True: 256}  # tokens, the latter without and with a GPU
MANY_ROWS = 40_000  # of all tasks: on two cores a run takes more than three minutes
N_SPLITS, MOST_EPOCHS, ROWS = {False: 3, True: 5}, 4, {False: 20_000, True: 400_000}  # rows of all epochs
SAME_ORDER = {"no", "yes", "false", "true"}  # which one is positive the pipeline knows


@dataclass(frozen=True)
class TaskPlan:
    """One task as params.yaml has it, and what the other sections need to know of it."""

    files: TaskFiles
    columns: Columns
    labels: Labels
    shares: tuple[bool, str]
    n_tokens: int

    @property
    def rarest(self) -> int:
        """The rows, or groups, of the rarest label that more than one has; those of one are never scored."""
        train, label = self.files.train.rows, self.columns.label
        apart = self.columns.group if self.columns.group is not None else self.columns.text[0]
        if self.labels.shape not in ("two", "several", "grades"):
            return len(train)
        counts = train[train[label[0]] != ""].groupby(label[0])[apart].nunique()
        return int(counts[counts > 1].min()) if (counts > 1).any() else 2


def init(
    folder: Path, output: Path, *, ask: Ask, force: bool = False, metric: str | None = None, train: Path | None = None,
    test: Path | None = None, sample: Path | None = None, label: list[str] | None = None,
) -> list[str]:  # fmt: skip
    """Look at the files of a competition, write `output`, and return what is to be said about it.

    Args:
        folder: `data/<competition>`.
        output: the params.yaml to write.
        ask: asks the user what the files cannot say.
        force: whether to overwrite `output`.
        metric: the one that decides.
        train: the training file, where its name does not say it; so `test` and `sample`.
        label: the columns of the labels.

    Raises:
        ParamsError: if there is `output` already, the folder lies elsewhere, or no such metric fits the labels.
        DataError: if the files are not those of a competition; says what is missing, or between what it cannot choose.
    """
    if output.exists() and not force:
        raise ParamsError(f"{output}: is there already. Move it, or overwrite it with --force.")
    competition = _competition(folder)
    found = find_tasks(DATA / competition, train=train, test=test, sample=sample, ask=ask)
    tasks = [_plan(files, label or [], ask) for files in found]
    kinds = [kind_for(task.labels.shape) for task in tasks]
    metric = _metric(metric, kinds, ask)
    text = _render(competition, tasks, kinds, metric)
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary) / output.name
        draft.write_text(text, encoding="utf-8")
        try:
            load_params(draft)
        except ParamsError as error:
            problems = str(error).replace(f"{draft}:", "line ")
            raise ParamsError(f"{output}: not written, as it would be wrong: {problems}", code=error.code) from error
    write_atomically(output, text.encode("utf-8"))
    lines = [
        f"{task.files.name}: {kind}, {task.labels.why}; train {task.files.train.path.name}, test {task.files.test.path.name}"
        for task, kind in zip(tasks, kinds, strict=True)
    ]
    return [*lines, f"{output}: written. Read its comments. Next: stitchfold check"]


def _competition(folder: Path) -> str:
    """Return the name of a competition whose folder lies under data/, where DVC watches it."""
    place = Path(os.path.relpath(folder))
    if not place.is_dir():
        raise DataError(f"{folder}: no such folder. Put the competition's files into data/<competition>/.")
    name = re.sub("[^a-z0-9_-]+", "-", Path(os.path.abspath(folder)).name.lower())
    if place != DATA / name:
        link = f"mkdir -p data && ln -s {shlex.quote(os.path.abspath(folder))} data/{name}"
        raise ParamsError(
            f"{folder}: must be data/{name}, in small letters, where DVC watches it. Link it: {link}; then: "
            f"stitchfold init data/{name}.",
            code="E202",
        )
    return name


def _plan(files: TaskFiles, label: list[str], ask: Ask) -> TaskPlan:
    columns = find_columns(files, labels=label, ask=ask)
    labels = look_at_labels(files.train, columns.label)
    shares = relate_pairs(columns, files.train)
    read = [*columns.text, *([] if columns.text_pair is None else [columns.text_pair])]
    n_tokens = sum(count_tokens(pa.array(files.train.rows[column], pa.large_string())) for column in read)
    return TaskPlan(files, columns, labels, shares, int(np.quantile(n_tokens, LONG)))


def _metric(metric: str | None, kinds: list[str], ask: Ask) -> str | None:
    known = [name for name in components.available("metrics") if all(_scores(name, kind) for kind in kinds)]
    if metric is not None and metric not in known:
        raise ParamsError(f"--metric: {expected(metric, known)}", code="E202")
    return metric or ask("Which metric decides? The competition's page says it (empty: a usual one)", known)


def _scores(metric: str, kind: str) -> bool:
    """Return whether a metric is for the labels of a kind of task, under its default options."""
    form, n_labels, order = (components.constant("task_kinds", kind, name) for name in ("FORM", "N_LABELS", "ORDER"))
    of_metric, ordered = (components.constant("metrics", metric, name) for name in ("N_LABELS", "ORDERED"))
    is_so_many = not isinstance(of_metric, int) or of_metric == n_labels
    return components.fits("metrics", metric, form) and is_so_many and (order is not None or not ordered)


def _render(competition: str, tasks: list[TaskPlan], kinds: list[str], metric: str | None) -> str:
    machine = this_machine()
    has_gpu = machine.n_gpus > 0
    n_tokens = max(task.n_tokens for task in tasks)
    n_rows = max(len(task.files.train.rows) for task in tasks)
    max_length = min(max(SHORTEST, -(-int(PIECES * n_tokens + 3) // 16) * 16), LONGEST[has_gpu])
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"flow": flow, "combine": lambda one, other: {**one, **other}}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        competition=competition, tasks=[_values(task, kind, len(tasks)) for task, kind in zip(tasks, kinds, strict=True)],
        metric=metric, machine=machine.text, has_gpu=has_gpu, n_tokens=n_tokens, max_length=max_length, n_rows=n_rows,
        n_splits=max(2, min(N_SPLITS[has_gpu], *(task.rarest for task in tasks))), most_splits=N_SPLITS[has_gpu],
        epochs=min(max(ROWS[has_gpu] // n_rows, 1), MOST_EPOCHS), shares=[task.shares for task in tasks if task.shares[1]],
        checkpoints=dict(find_checkpoints(max_length=max_length)),
        is_long=not has_gpu and sum(len(task.files.train.rows) for task in tasks) >= MANY_ROWS,
    )  # fmt: skip


def _values(task: TaskPlan, kind: str, n_tasks: int) -> dict[str, Any]:
    """Return what the template says about a task."""
    files, columns, labels = task.files, task.columns, task.labels
    keys = {
        key: value for key, value in asdict(columns).items() if key in ("id", "text", "text_pair", "label", "group")
    }
    keys |= {key: keys[key][0] for key in ("text", "label") if len(keys[key]) == 1}
    is_words = labels.shape == "two" and not set(map(str.lower, labels.counts)) <= {*SAME_ORDER, *map(str, range(10))}
    return {
        "name": files.name, "kind": kind, "shape": labels.shape, "labels": labels, "files": files,
        "form": files.train.form.model_dump(exclude_unset=True), "notes": files.notes,
        "columns": {key: value for key, value in keys.items() if value is not None}, "found": columns,
        "listed": list(labels.counts) if is_words and files.train.is_whole else None,
        "submission": _submission(files, columns, labels), "n_tasks": n_tasks,
    }  # fmt: skip


def _submission(files: TaskFiles, columns: Columns, labels: Labels) -> dict[str, Any]:
    """Return the options of the submission's format, by what the sample's values are; without one the test file's id."""
    sample = files.sample
    if sample is None:
        named = {"id_column": columns.test.get("id", columns.id), "label_column": columns.label[0]}
        return {key: value for key, value in named.items() if isinstance(value, str) and value != key.partition("_")[0]}
    if columns.wants_probabilities:
        return {"values": "probabilities"}
    return sample_values(labels, sample.rows[answer_columns(sample, files.test)])


def flow(value: Any) -> str:
    """Return a value as YAML in a line.

    >>> flow({"id": 0, "text": ["the title", "true"], "separator": ";", "group": None})
    '{id: 0, text: [the title, "true"], separator: ";", group: null}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(key)}: {flow(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
