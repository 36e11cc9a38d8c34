"""Try every family of encoders at all that the pipeline does with one, and write docs/families.md from what came out.

`python -m tests.families` tries them and writes the page; `tests/test_families.py` holds that it says what comes out now.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from pipeline import components
from pipeline.artifacts.files import sha256_of, write_manifest
from pipeline.base_models.fold_training import train_fold
from pipeline.bundle.fold_models import load_fold
from pipeline.bundle.sources import FoldSource
from pipeline.bundle.writer import Writer
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.models.batching import Encoded
from pipeline.models.classifier import TextClassifier, load_classifier
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.stitch import Stitch
from pipeline.stitch.fold_training import load_stitched, train_stitched
from pipeline.stitch.model import SideBySide
from pipeline.stitch.states import Base, Online
from pipeline.units.checkpoints import Checkpoints
from tests.small import frame
from tests.training.regression import StopAt

PAGE = Path(__file__).parent.parent / "docs" / "families.md"
OF_CONFIG = (
    "bert", "roberta", "xlm-roberta", "distilbert", "mobilebert", "albert", "electra", "ernie", "deberta-v2", "mpnet",
    "xlnet", "bart", "t5", "longformer", "modernbert", "roformer", "gpt2",
)  # fmt: skip
REMARKS = {"bart": "encoder half", "t5": "encoder half", "gpt2": "reads forwards only"}
SHAPE: dict[str, dict[str, Any]] = {
    "from_config": {"vocab_size": 200, "hidden_size": 32, "n_layers": 2, "n_heads": 2},
    "bilstm": {"vocab_size": 200, "hidden_size": 32},
    "word_vectors": {"hidden_size": 32, "vector_size": 16, "vector_epochs": 1, "n_layers": 2},
}
FAMILIES = [
    *OF_CONFIG,
    *(name for name in components.available("encoders") if name not in ("from_config", "pretrained")),
]
N_ROWS, STOP, N_STEPS = 24, 4, 9
ROWS = frame(N_ROWS)
YES, NO = "yes", "no"


@dataclass(frozen=True)
class Findings:
    """A line of the page; the titles of its columns are the fields' metadata."""

    family: str = field(metadata={"title": "family"})
    fine_tuned: str = field(metadata={"title": "fine-tuned"})
    resumed: str = field(metadata={"title": "resumed, same bytes"})
    alone: str = field(metadata={"title": "in a batch as alone"})
    checkpointing: str = field(metadata={"title": "gradient checkpointing"})
    sdpa: str = field(metadata={"title": "SDPA"})
    offsets: str = field(metadata={"title": "offsets"})
    stitched: str = field(metadata={"title": "stitched"})
    exported: str = field(metadata={"title": "exported"})


def settings_of(family: str, **training: Any) -> Encoder:
    """Return the settings of a small encoder of a family."""
    name, given = ("from_config", {"architecture": family}) if family in OF_CONFIG else (family, {})
    values = {"max_length": 20, "batch_size": 8, "epochs": N_STEPS * 8 // N_ROWS, "learning_rate": 3e-3, **training}
    return Encoder.model_validate({"source": {"name": name, **SHAPE.get(name, {}), **given}, **values})


class Place:
    """A workspace in a folder; `stop`: at which step the training is asked to."""

    def __init__(self, folder: Path, *, stop: int | None = None) -> None:
        self.result, self.device = folder / "result", "cpu"
        self.result.mkdir(parents=True, exist_ok=True)
        self.checkpoints, monitor = Checkpoints(folder / "checkpoints"), StopAt(stop or 10**9)
        self.progress, self.stop_requested = monitor.progress, monitor.stop_requested


def trained(folder: Path, settings: Encoder, *, stop: int | None = None) -> Path:
    """Train a fold's model in a folder, or what is left of its training, and return where it lies."""
    place: Any = Place(folder, stop=stop)
    train_fold(place, rows=ROWS, n_outputs=2, settings=settings, scorer=None, seed=0)
    write_manifest(place.result, list(place.result.iterdir()))
    return place.result


def is_resumed(folder: Path, settings: Encoder, whole: Path) -> str:
    """Return whether a training that was stopped ends in the bytes of one that was not."""
    try:
        trained(folder, settings, stop=STOP)
    except InterruptedRun:
        again = trained(folder, settings)
        return YES if sha256_of(again / "model.safetensors") == sha256_of(whole / "model.safetensors") else NO
    return NO


def checkpoints_gradients(folder: Path, settings: Encoder, whole: TextClassifier) -> str:
    """Return whether a training that computes activations twice gives the same weights, or is refused with the remedy."""
    changed = settings.model_copy(update={"gradient_checkpointing": True})
    try:
        with mock.patch("transformers.modeling_utils.checkpoint", wraps=checkpoint) as twice:
            again, _ = load_classifier(trained(folder, changed))
    except ParamsError as error:
        return (
            "refused" if str(error).startswith("gradient_checkpointing: ") and "Set it to false" in str(error) else NO
        )
    for name, tensor in again.state_dict().items():
        assert_close(tensor, whole.state_dict()[name], atol=1e-4, rtol=1e-3)
    return YES if twice.called else NO


def is_alone_as_in_a_batch(model: TextClassifier, encoded: Encoded) -> str:
    """Return whether the states of a row do not depend on the rows, and padding, beside it."""
    shortest, longest = (int(row) for row in np.argsort(encoded.lengths, kind="stable")[[0, -1]])
    n_tokens = int(encoded.lengths[shortest])
    together = model.hidden_states(encoded.batch(np.array([longest, shortest])))
    alone = model.hidden_states(encoded.batch(np.array([shortest])))
    close = [torch.allclose(a[1, :n_tokens], b[0], atol=1e-5) for a, b in zip(together, alone, strict=True)]
    return YES if n_tokens < encoded.lengths[longest] and all(close) else NO


def is_by_sdpa(model: TextClassifier, encoded: Encoded) -> str:
    """Return whether torch's fused attention is taken, and then gives the states of the plain one."""
    if getattr(model.backbone.config, "_attn_implementation", None) != "sdpa":
        return NO
    batch = encoded.batch(np.arange(4))
    fused = model.hidden_states(batch)[-1]
    model.backbone.set_attn_implementation("eager")
    plain = model.hidden_states(batch)[-1]
    model.backbone.set_attn_implementation("sdpa")
    real = batch["attention_mask"].bool()
    return YES if torch.allclose(fused[real], plain[real], atol=1e-5) else NO


def has_offsets(encoded: Encoded) -> str:
    """Return whether the tokens' spans cover each visible character of the texts."""
    if encoded.spans is None:
        return NO
    for row, text in enumerate(ROWS["text"]):
        spans = encoded.spans[encoded.starts[row] : encoded.starts[row + 1]]
        covered = {
            place - 1 for start, end in spans for place in range(start, end)
        }  # texts begin at 1 on the row's axis
        if not covered >= {place for place, character in enumerate(text) if not character.isspace()}:
            return NO
    return YES


@cache
def frame_base() -> Base:
    """Return an encoder over bytes, on whose tokens the others' states are brought."""
    folder = Path(tempfile.mkdtemp())
    settings = settings_of("bert", epochs=1)
    settings.source.options["tokenizer"] = "byte_bpe"
    return base_of("bytes", settings, trained(folder, settings))


def base_of(name: str, settings: Encoder, model: Path) -> Base:
    """Return a fold's fine-tuned encoder as stitching takes it."""
    return Base(name, settings, model, sha256_of(model / "model.safetensors"), "", "last", "refuse")


def stitched_and_exported(folder: Path, base: Base) -> tuple[str, str]:
    """Return whether a head learns over an encoder beside another, and whether a bundle of both models predicts the same."""
    bases = (frame_base(), base)
    stitch = Stitch.model_validate({"epochs": 1, "batch_size": 8, "learning_rate": 5e-3, "features": "online"})
    head = Component(kind="heads", name="text_cnn", options={"n_filters": 4})
    place: Any = Place(folder)
    train_stitched(
        place, bases=bases, features=None, rows=ROWS, n_outputs=2, settings=stitch, head=head, scorer=None, seed=0
    )
    sides, encoders = zip(*(online(base) for base in bases), strict=True)
    inputs, several = SideBySide.of(sides), load_stitched(place.result, encoders, bases, tuned=False).eval()
    rows = np.arange(6)
    with torch.inference_mode():
        logits = {"both": several(inputs.batch(rows))}
        model, _ = load_classifier(base.model)
        logits["one"] = model(sides[1].encoded.batch(rows))
        received = [alignment.weight.sum() for alignment in inputs.alignments]
        exported = from_bundle(folder / "bundle", {"both": (place.result, bases), "one": (base.model, (base,))}, rows)
    same = all(torch.allclose(exported[name], logits[name], atol=1e-5) for name in logits)
    learnt = bool(torch.isfinite(logits["both"]).all()) and min(received) > sides[0].encoded.lengths.sum() / 2
    return YES if learnt else NO, YES if same else NO


def online(base: Base) -> tuple[Online, TextClassifier]:
    """Return the rows as an encoder reads them, and the encoder."""
    encoder, tokenizer = base.load()
    return Online(base.encode(tokenizer, ROWS), SHAPE["from_config"]["hidden_size"]), encoder


def from_bundle(folder: Path, models: dict[str, tuple[Path, tuple[Base, ...]]], rows: np.ndarray) -> dict[str, Any]:
    """Write models as a bundle has them, load them from there and return their logits of rows by name."""
    stages = {name: "finetune" if len(bases) == 1 else "stitch" for name, (_, bases) in models.items()}
    params = SimpleNamespace(stages=stages, stitch=SimpleNamespace(unfreeze=0))
    writer, job = Writer(folder, SimpleNamespace(params=params)), SimpleNamespace(repeat=0, fold=0, name="one")  # type: ignore[arg-type]
    members = {
        name: writer.member(name, [FoldSource(job, model, bases)])["folds"][0]  # type: ignore[arg-type]
        for name, (model, bases) in models.items()
    }
    stitching = {"layers": "last", "without_offsets": "refuse", "precision": "fp32", "cached": False}
    described = {"encoders": writer.encoders, "tensors": writer.store.files, "stitching": stitching}
    loaded, inputs = load_fold(folder, json.loads(json.dumps(described)), members, ROWS)
    return dict(zip(members, loaded(inputs.batch(rows)).split(2, dim=1), strict=True))


def tried(family: str, folder: Path) -> Findings:
    """Return what a family does, tried in an empty folder."""
    settings = settings_of(family)
    whole = trained(folder / "whole", settings)
    losses = [step["loss"] for step in json.loads((whole / "history.json").read_text(encoding="utf-8"))["steps"]]
    learns = len(losses) == N_STEPS and np.mean(losses[-3:]) < np.mean(losses[:3])
    base = base_of(family, settings, whole)
    model, tokenizer = load_classifier(whole)
    encoded = base.encode(tokenizer, ROWS.assign(text=[*ROWS["text"][1:], "cat"]))
    with torch.inference_mode():
        alone, sdpa = is_alone_as_in_a_batch(model, encoded), is_by_sdpa(model, encoded)
    return Findings(
        family,
        YES if learns else NO,
        is_resumed(folder / "stopped", settings, whole),
        alone,
        checkpoints_gradients(folder / "checkpointed", settings, model),
        sdpa,
        has_offsets(base.encode(tokenizer, ROWS)),
        *stitched_and_exported(folder / "stitched", base),
    )


def line(findings: Findings) -> str:
    """Return a family's line of the table."""
    family, *cells = astuple(findings)
    remark = f" ({REMARKS[family]})" if family in REMARKS else ""
    return "| " + " | ".join([f"`{family}`{remark}", *cells]) + " |"


def page(every: list[Findings]) -> str:
    """Return the page."""
    titles = [entry.metadata["title"] for entry in fields(Findings)]
    table = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|", *map(line, every)]
    return PAGE.read_text(encoding="utf-8").partition("| family |")[0] + "\n".join([*table, ""])


def every_one() -> Iterator[Findings]:
    """Yield what each family does."""
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            yield tried(family, Path(folder))


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(list(every_one())), encoding="utf-8")


if __name__ == "__main__":
    main()
