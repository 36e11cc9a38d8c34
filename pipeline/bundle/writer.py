"""The models of a bundle on their way into it: weights, what reads texts, fitted baselines, and how all is put together."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pipeline import components
from pipeline.artifacts.files import json_bytes, read_manifest
from pipeline.artifacts.histories import HISTORY
from pipeline.artifacts.paths import READOUT
from pipeline.bundle.fold_models import TENSORS
from pipeline.bundle.predictor import FORMAT, VERSION
from pipeline.bundle.sources import FoldSource, Sources, sample_of
from pipeline.bundle.stacks import Stacked
from pipeline.bundle.weights import TensorStore
from pipeline.models.classifier import WEIGHTS, TextClassifier, load_classifier
from pipeline.params.tasks import FileForm
from pipeline.reproducibility import digest, versions
from pipeline.stitch.fold_training import load_stitched
from pipeline.stitch.states import Base

READING = {
    "max_length", "truncation", "window", "window_overlap", "precision", "tokens_per_micro_batch", "field_budgets",
    "chat_template",
}  # fmt: skip
KINDS = {"finetune": "encoder", "stitch": "stitched", "baseline": "baseline"}
NOT_FOR_READING = (WEIGHTS, HISTORY)


class Writer:
    """Fills a folder with members; what several of them use is written once."""

    def __init__(self, folder: Path, sources: Sources) -> None:
        """Begin with nothing."""
        self.folder, self.sources = folder, sources
        self.store = TensorStore(folder / TENSORS)
        self.encoders: list[dict[str, Any]] = []
        self.numbers: dict[tuple[str, str], int] = {}  # of encoders by their fold and what they are
        self.readers: dict[str, str] = {}  # folders by what is in them

    def member(self, name: str, folds: Sequence[FoldSource]) -> dict[str, Any]:
        """Write all folds of a model and return it as bundle.json describes it."""
        stage = self.sources.params.stages[name]
        write = {"finetune": self._fine_tuned, "stitch": self._stitched, "baseline": self._baseline}[stage]
        described = [{"repeat": f.job.repeat, "fold": f.job.fold, **write(name, f)} for f in folds]
        member = {"name": name, "kind": KINDS[stage], "folds": described}
        if stage == "baseline":
            component = self.sources.params.baselines[name]
            member["component"] = [component.name, component.options]
        return member

    def sizes(self, members: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Return by member the bytes that only it needs."""
        used = {member["name"]: self._digests(member) for member in members}
        counts = Counter(digest for digests in used.values() for digest in digests)
        alone = {n: sum(self.store.sizes[d] for d in digests if counts[d] == 1) for n, digests in used.items()}
        files = {m["name"]: [f["fitted"] for f in m["folds"] if "fitted" in f] for m in members}
        for name, stems in files.items():
            alone[name] += sum(path.stat().st_size for stem in stems for path in self.folder.glob(f"{stem}.*"))
        return alone

    def _digests(self, member: dict[str, Any]) -> set[str]:
        encoders = {number for fold in member["folds"] for number in fold.get("encoders", ())}
        parts = [*member["folds"], *(self.encoders[number] for number in encoders)]
        return {digest for part in parts for digest in part.get("tensors", {}).values()}

    def _fine_tuned(self, name: str, source: FoldSource) -> dict[str, Any]:
        [base] = source.bases
        classifier, _ = load_classifier(base.model, merged=True)
        number = self._encoder(source, base, classifier)
        readout: Any = classifier.readout
        return {"encoders": [number], "spec": readout.spec, "tensors": self.store.put(readout.state_dict())}

    def _stitched(self, name: str, source: FoldSource) -> dict[str, Any]:
        tuned, folder = self.sources.params.stitch.unfreeze > 0, source.folder or Path()
        encoders = [base.load()[0] for base in source.bases] if tuned else []
        stitched = load_stitched(folder, encoders, source.bases, tuned=tuned).stitch
        given: Sequence[TextClassifier | None] = encoders or [None] * len(source.bases)
        numbers = [self._encoder(source, base, own) for base, own in zip(source.bases, given, strict=True)]
        return {"encoders": numbers, "spec": stitched.spec, "tensors": self.store.put(stitched.state_dict())}

    def _baseline(self, name: str, source: FoldSource) -> dict[str, Any]:
        fitted, arrays = self.sources.fitted_baseline(name, source.job).state()
        stem = f"baselines/{name}-r{source.job.repeat}-f{source.job.fold}"
        (self.folder / "baselines").mkdir(parents=True, exist_ok=True)
        (self.folder / f"{stem}.json").write_bytes(json_bytes(fitted))
        # Written as they lie in memory: columns first would be read as rows first.
        contiguous = {array: np.ascontiguousarray(values) for array, values in arrays.items()}
        save_file(contiguous, self.folder / f"{stem}.safetensors")
        (self.folder / f"{stem}.safetensors").chmod(0o644)
        return {"fitted": stem}

    def _encoder(self, source: FoldSource, base: Base, own: TextClassifier | None) -> int:
        """Return the number of an encoder, written if it is new; `own` is the one that a model trained along, if it did."""
        key = source.job.name, base.digest
        if own is None and key in self.numbers:
            return self.numbers[key]
        backbone = (own or base.load(merged=True)[0]).backbone
        spec = json.loads((base.model / READOUT).read_text(encoding="utf-8"))
        entry = {
            "encoder": base.encoder, "source": spec["source"], "folder": self._reader(source, base),
            "settings": base.settings.model_dump(include=READING), "tensors": self.store.put(backbone.state_dict()),
        }  # fmt: skip
        number = self.encoders.index(entry) if entry in self.encoders else len(self.encoders)
        if number == len(self.encoders):
            self.encoders.append(entry)
        if own is None or base.model == source.folder:
            self.numbers[key] = number
        return number

    def _reader(self, source: FoldSource, base: Base) -> str:
        """Return the folder of an encoder's configuration and tokenizer, the same for those that are the same."""
        files = {name: sha256 for name, sha256 in read_manifest(base.model).items() if name not in NOT_FOR_READING}
        folder = f"encoders/{base.encoder}-r{source.job.repeat}-f{source.job.fold}"
        known = self.readers.setdefault(digest([base.encoder, {**files, READOUT: ""}]), folder)
        if known == folder:
            for name in files:
                (self.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(base.model / name, self.folder / folder / name)
        return known


def describe(
    sources: Sources, writer: Writer, members: Sequence[dict[str, Any]], stacked: Stacked | None
) -> dict[str, Any]:
    """Return what bundle.json says of the models, of what combines them, and of the files that are read and written."""
    params, table, name = sources.params, sources.table, sources.task
    task, stitch = params.tasks[name], params.stitch
    form = task.model_dump(include=set(FileForm.model_fields))
    if form["encoding_errors"] == "drop_row":  # every row of a test file must be predicted
        form["encoding_errors"] = "replace"
    submission = task.submission.format
    options = {**submission.options}
    if "sample_values" in components.defaults(submission.kind, submission.name):
        options["sample_values"] = "placeholders"  # they were compared with the labels at home
    return {
        "format": FORMAT, "version": VERSION, "kind": table.kinds[name], "labels": table.labels[name],
        "manifest": sources.folds.digest, "versions": versions(), "encoders": writer.encoders, "members": list(members),
        "tensors": writer.store.files,
        "stitching": {
            "layers": stitch.layers, "without_offsets": stitch.without_offsets, "precision": stitch.precision,
            "cached": stitch.features == "cache" and not stitch.unfreeze,
        },
        "stacks": stacked.stacks if stacked else [],
        "average": stacked.average if stacked else None,
        "reading": {
            "file": Path(next(iter(task.tests.values()), task.train)).name, "form": form,
            "columns": task.columns_of_test.model_dump(),
        },
        "submission": {"format": [submission.name, options], "sample": sample_of(params, table, name)},
    }  # fmt: skip
