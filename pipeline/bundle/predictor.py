"""What a bundle does wherever it lies: it reads a test file as the task says, predicts fold by fold, stacks what there is."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError

from pipeline import components
from pipeline.artifacts.files import is_inner, is_whole
from pipeline.artifacts.table import in_both_orders
from pipeline.contracts import TaskKind
from pipeline.data.preparing import columns_read, row_ids, texts_of
from pipeline.data.reading import read_columns
from pipeline.ensemble.stacking import mean_of_stackers
from pipeline.errors.exceptions import DataError
from pipeline.text.normalising import clean
from pipeline.text.templates import is_template

if TYPE_CHECKING:
    from pipeline.training_contracts import Monitor

DESCRIPTION, ASSETS = "bundle.json", "assets"
FORMAT, VERSION = "stitchfold-bundle", 1
REMEDY = "Make it again: stitchfold bundle."
TOKENS_PER_BATCH = 8192


class Bundle:
    """A loaded bundle: what bundle.json says, and the files that it names under `assets`."""

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        """Take the folder and what its bundle.json says."""
        self.folder, self.description = folder / ASSETS, description

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the values' columns."""
        return list(self.description["labels"])

    @property
    def members(self) -> list[str]:
        """The names of the models, in the order in which a run adds them."""
        return [member["name"] for member in self.description["members"]]

    @cached_property
    def kind(self) -> TaskKind:
        """The kind of task: it makes values and labels of logits."""
        name, options = self.description["kind"]
        kind: TaskKind = components.build("task_kinds", name, options)
        return kind

    def read_rows(self, path: Path) -> pd.DataFrame:
        """Return `row_id, text, text_pair` of a test file that is written as the task's own is; it may have no rows.

        Raises:
            DataError: if it cannot be read so.
        """
        reading = self.description["reading"]
        form: Any = SimpleNamespace(**reading["form"])
        columns: Any = SimpleNamespace(**reading["columns"])
        raw = read_columns(
            path, columns_read(columns, header=form.header), form, key="bundle.json: reading", may_be_empty=True
        )
        return texts_of(raw, columns).assign(row_id=row_ids(raw, columns))

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """Return models in groups, in their order: those of one share encoders, which then read the rows once."""
        groups: list[tuple[set[int], list[str]]] = []
        for name in names:
            encoders = {number for fold in self._folds(name) for number in fold["encoders"]}
            shared = [group for group in groups if group[0] & encoders]
            merged = encoders.union(*(group[0] for group in shared)), [n for group in shared for n in group[1]] + [name]
            groups = [group for group in groups if group not in shared] + [merged]
        return [group for _, group in groups]

    def fold_values(
        self, fold: int, names: Sequence[str], rows: pd.DataFrame, *, device: str = "auto",
        tokens_per_batch: int = TOKENS_PER_BATCH, watch: "Callable[[np.ndarray], Monitor] | None" = None,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Return by model the values (N, V) that its model of a fold, counted from 0 over all repeats, gives for rows.

        `watch` returns, for the tokens of each row, who may end the pass.
        """
        import torch  # not before there is a first submission

        from pipeline.bundle.fold_models import load_fold
        from pipeline.models.prediction import mean_of_orders, predict_logits

        described = {name: self._folds(name)[fold] for name in names}
        swaps = self.description["reading"]["columns"]["swap"]
        if swaps:
            rows = in_both_orders(rows)
        with fitting_parts(self.folder.parent):
            models, inputs = load_fold(self.folder, self.description, described, rows)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        monitor = None if watch is None else watch(inputs.lengths)
        logits = predict_logits(models.to(device), inputs, tokens_per_batch, monitor=monitor)
        of_models = zip(names, np.split(logits, len(names), axis=1), strict=True)
        one = {name: mean_of_orders(of_model, self.kind) if swaps else of_model for name, of_model in of_models}
        return {name: self.kind.values(of_model) for name, of_model in one.items()}

    def baseline_values(self, name: str, rows: pd.DataFrame) -> np.ndarray:
        """Return the values (N, V) of a baseline, the mean over folds."""
        from safetensors.numpy import load_file

        member = next(member for member in self.description["members"] if member["name"] == name)
        values = []
        for fold in member["folds"]:
            offered = {"n_outputs": len(self.labels), "seed": 0}
            model = components.build("baselines", *member["component"], **offered)
            fitted = json.loads((self.folder / f"{fold['fitted']}.json").read_text(encoding="utf-8"))
            model.load_state(fitted, load_file(self.folder / f"{fold['fitted']}.safetensors"))
            values.append(self.kind.values(self.kind.logits(model.predict(rows))))
        return np.asarray(np.mean(values, axis=0))

    def combined(self, values: Mapping[str, np.ndarray], n_rows: int) -> np.ndarray:
        """Return the values (N, V) that models, each with (N, V), give together, decided as was tuned for them.

        Where no stack was fitted for just these it is their plain mean; without any, what is predicted on average.
        """
        if not values:
            return np.tile(self.description["average"], (n_rows, 1))
        stack = next((stack for stack in self.description["stacks"] if set(stack["members"]) == set(values)), None)
        if stack is None or not n_rows:
            return np.asarray(np.mean(list(values.values()), axis=0))
        joined = np.stack([values[name] for name in stack["members"]], axis=1)
        name, options = stack["component"]
        stackers = [components.build("stackers", name, options, metric=None, seed=0) for _ in stack["states"]]
        for stacker, state in zip(stackers, stack["states"], strict=True):
            stacker.load_state(state)
        result = mean_of_stackers(stackers, joined)
        return result if stack["decision"] is None else self.kind.apply_decision(result, stack["decision"])

    def predict_probabilities(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, tokens_per_batch: int = TOKENS_PER_BATCH,
        device: str = "cpu",
    ) -> np.ndarray:  # fmt: skip
        """Return values, float64 (N, V), for raw texts: they are cleaned as the pipeline cleans its files.

        Raises:
            DataError: if a text is none, or pairs are missing, too many, or given to models that know none.
        """
        return self.values_of(self._rows(texts, text_pairs), tokens_per_batch=tokens_per_batch, device=device)

    def values_of(
        self, rows: pd.DataFrame, *, tokens_per_batch: int = TOKENS_PER_BATCH, device: str = "cpu"
    ) -> np.ndarray:
        """Return values, float64 (N, V), for rows with `text` and `text_pair` as `read_rows` gives them."""
        if rows.empty:
            return np.zeros((0, len(self.labels)))
        kinds = {member["name"]: member["kind"] for member in self.description["members"]}
        values = {name: self.baseline_values(name, rows) for name, kind in kinds.items() if kind == "baseline"}
        others = [name for name in kinds if name not in values]
        for group in self.groups(others):
            n_folds = len(self._folds(group[0]))
            options: Any = {"tokens_per_batch": tokens_per_batch, "device": device}
            folds = [self.fold_values(fold, group, rows, **options) for fold in range(n_folds)]
            values |= {name: np.mean([of_fold[name] for of_fold in folds], axis=0) for name in group}
        return self.combined(values, len(rows))

    def predict_frame(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per text: `label`, the likeliest, and `probability:<label>` for each; on a GPU if there is one."""
        return self.kind.answers(self.predict_probabilities(texts, text_pairs, device="auto"), self.labels)

    def _folds(self, name: str) -> list[dict[str, Any]]:
        return next(member["folds"] for member in self.description["members"] if member["name"] == name)

    def _rows(self, texts: Sequence[str], text_pairs: Sequence[str] | None) -> pd.DataFrame:
        columns = self.description["reading"]["columns"]
        if any(map(is_template, (columns["text"], columns["text_pair"]))):
            raise DataError(
                f"{self.folder.parent}: reads texts made of several columns, got texts. Give its predict.py a test file."
            )
        pairs = columns["text_pair"] is not None
        if pairs != (text_pairs is not None):
            kind, remedy = ("pairs of", "Give the second ones") if text_pairs is None else ("single", "Leave it out")
            raise DataError(f"text_pairs: the model was trained on {kind} texts. {remedy}.")
        first = _cleaned(texts, "texts")
        second = None if text_pairs is None else _cleaned(text_pairs, "text_pairs")
        if second is not None and len(second) != len(first):
            raise DataError(
                f"text_pairs: must be as many as texts, {len(first)}, got {len(second)}. Give one for each."
            )
        return pd.DataFrame({"text": first, "text_pair": second})


@contextmanager
def fitting_parts(folder: Path) -> Iterator[None]:
    """Say what is wrong with a bundle's parts: its manifest says only that they are as somebody wrote them."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(f"{folder}: holds parts that do not fit together: {error}. {REMEDY}") from error


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what a folder's bundle.json says, in whatever form, or None if it is no bundle."""
    try:
        description: dict[str, Any] = json.loads((folder / ASSETS / DESCRIPTION).read_text(encoding="utf-8"))
        return description if description["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def load_bundle(folder: Path, *, finished: bool = True) -> Bundle:
    """Return the bundle in a folder after checking, of one that is `finished`, that every file is as it was written.

    Raises:
        DataError: if the folder is no bundle, is damaged, or is of another version.
    """
    description = read_description(folder)
    if description is None:
        raise DataError(f"{folder}: is no bundle: it has no {ASSETS}/{DESCRIPTION}. Make one: stitchfold bundle.")
    if description.get("version") != VERSION:
        got = description.get("version")
        raise DataError(f"{folder}: must be of version {VERSION}, got {got!r}. {REMEDY}")
    if finished and not is_whole(folder):
        raise DataError(f"{folder}: does not match its manifest (damaged, or edited). {REMEDY}")
    bundle = Bundle(folder, description)
    with fitting_parts(folder):
        named = [entry["folder"] for entry in description["encoders"]] + list(set(description["tensors"].values()))
        named += [f["fitted"] for m in description["members"] for f in m["folds"] if "fitted" in f]
        if outside := [name for name in named if not is_inner(name)]:
            raise ValueError(f"{outside[0]!r} must lie within the bundle")
        if len(description["average"]) != len(bundle.labels) or not bundle.kind.outputs(bundle.labels):
            raise ValueError(f"labels must be those of {len(description['average'])} values, got {bundle.labels}")
    return bundle


def _cleaned(texts: Sequence[str], name: str) -> list[str]:
    """Return texts as the table would hold them."""
    if isinstance(texts, str):
        raise DataError(f"{name}: must be a sequence of texts, got one text. Put it into a list.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}: must all be text, got {text!r} in row {row}. Give '' where there is none.")
    # A lone surrogate is no character: UTF-8 cannot hold it.
    valid = [t if t.isascii() else t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
    cleaned: list[str] = clean(pa.array(valid, pa.large_string())).to_pylist()
    return cleaned
