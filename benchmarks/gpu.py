"""On a GPU: speed and memory of a base-size encoder beside `transformers.Trainer`.

A model of BERT-base's shape with random weights: only speed and memory mean anything. Short texts are those of
data/disaster_tweets/train.csv (else the demo's), long ones eight of them in a row. Each contestant has a process of its own
and trains every case twice: the second time counts, for in bf16 the first batch of each shape takes much longer. That the
same training gives the same bytes is tested in tests/test_gpu.py.
Run from the repository's root on a machine with a CUDA device: python benchmarks/gpu.py [rows]. Writes
benchmarks/results/gpu.json.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recording import ROOT, record

BATCH_SIZE, LEARNING_RATE, SEED, VOCABULARY = 32, 5e-5, 0, 30522
MAX_LENGTH, SHARE_OF_ROWS, N_JOINED = {"short": 96, "long": 256}, {"short": 1, "long": 3}, 8
CASES = (("short", "bf16"), ("long", "bf16"), ("long", "fp32"))
CONTESTANTS = ("stitchfold", "trainer", "trainer_grouped")
TARGETS = {"over_defaults_at_least": 1.5, "over_grouping_at_least": 1.05}


def read_rows(n: int, length: str) -> Any:
    """Return rows as a fold job has them: n of short texts, a third as many of long ones."""
    import pandas as pd

    from pipeline.data.demo import draw_rows

    path = ROOT / "data" / "disaster_tweets" / "train.csv"
    if path.is_file():
        texts = pd.read_csv(path, dtype=str, keep_default_na=False)["text"].tolist()[:n]
    else:
        texts = [one.text for one in draw_rows(n, seed=SEED)]
    if length == "long":
        texts = [" ".join((texts + texts)[i : i + N_JOINED]) for i in range(len(texts) // SHARE_OF_ROWS[length])]
    rows = pd.DataFrame({"text": texts, "text_pair": None, "cluster": 0})
    return rows.assign(label=rows["text"].str.len() % 2)


def write_model(folder: Path, n: int) -> None:
    """Write the model that all contestants start from."""
    from pipeline.models.encoders.from_config import build

    shape: dict[str, Any] = {"hidden_size": 768, "n_layers": 12, "n_heads": 12, "config": {"vocab_size": VOCABULARY}}
    texts = read_rows(n, "short")["text"].tolist()
    parts = build(texts=texts, max_length=max(MAX_LENGTH.values()), seed=SEED, vocab_size=VOCABULARY, **shape)
    parts.model.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)


def run_stitchfold(model: Path, rows: Any, length: str, precision: str) -> dict[str, Any]:
    """Train one fold as the stage does."""
    from pipeline.artifacts.histories import HISTORY
    from pipeline.base_models.fold_training import train_fold
    from pipeline.params.encoders import Encoder
    from pipeline.params.root import Run
    from pipeline.units.execution import run_units
    from pipeline.units.stage import Stage
    from pipeline.units.unit import Unit

    settings = Encoder.model_validate({
        "source": {"name": "pretrained", "path": str(model)}, "max_length": MAX_LENGTH[length], "precision": precision,
        "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "epochs": 1,
    })  # fmt: skip
    unit = Unit("benchmark", {"length": length, "precision": precision})
    shutil.rmtree(unit.folder, ignore_errors=True)
    arguments = {"rows": rows, "n_outputs": 2, "settings": settings, "scorer": None, "seed": SEED}
    run_units([(unit, train_fold, arguments)], run=Run(device="cuda", n_workers=1), stage=Stage("benchmark"))
    history = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
    return {
        "rows_per_second": len(rows) / history["seconds"],
        "tokens_per_second": history["n_tokens"] / history["seconds"],
        "loss": history["epochs"][0]["loss"],
    }


def run_trainer(model: Path, rows: Any, length: str, precision: str, *, grouped: bool) -> dict[str, Any]:
    """Train with the peer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(model)
    encoded = tokenizer(rows["text"].tolist(), truncation=True, max_length=MAX_LENGTH[length])
    columns = [*encoded.items(), ("labels", rows["label"].tolist())]
    examples = [{name: values[i] for name, values in columns} for i in range(len(rows))]
    arguments = TrainingArguments(
        output_dir="trainer", num_train_epochs=1, per_device_train_batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE,
        seed=SEED, save_strategy="no", report_to=[], disable_tqdm=True, bf16=precision == "bf16",
        train_sampling_strategy="group_by_length" if grouped else "random",
    )  # fmt: skip
    classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2, dtype=torch.float32)
    done = Trainer(classifier, arguments, train_dataset=examples, processing_class=tokenizer).train()
    seconds = done.metrics["train_runtime"]
    n_tokens = sum(map(len, encoded["input_ids"]))
    return {"rows_per_second": len(rows) / seconds, "tokens_per_second": n_tokens / seconds, "loss": done.training_loss}


def contend(name: str, model: Path, n: int) -> dict[str, Any]:
    """Return a contestant's figures of all cases, with the most memory that its tensors took at once."""
    import torch

    figures = {}
    for length, precision in CASES:
        rows = read_rows(n, length)
        for _ in range(2):
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            if name == "stitchfold":
                figures[f"{length}, {precision}"] = run_stitchfold(model, rows, length, precision)
            else:
                grouped = name == "trainer_grouped"
                figures[f"{length}, {precision}"] = run_trainer(model, rows, length, precision, grouped=grouped)
        figures[f"{length}, {precision}"]["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return figures


def main() -> None:
    """Run the contestants one after another and write the result."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 7613
    if len(sys.argv) > 2:
        name, model, target = sys.argv[2], *map(Path, sys.argv[3:])
        target.write_text(json.dumps(contend(name, model, n)), encoding="utf-8")
        return
    import torch

    figures: dict[str, Any] = {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "rows": n}
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model"
        write_model(model, n)
        for name in CONTESTANTS:
            target = Path(temporary) / f"{name}.json"
            command = [sys.executable, str(Path(__file__).resolve()), str(n), name, str(model), str(target)]
            path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
            subprocess.run(command, cwd=temporary, check=True, env={**os.environ, "PYTHONPATH": path})
            figures[name] = json.loads(target.read_text(encoding="utf-8"))
            print(name, figures[name], flush=True)
    ours, peer, grouped = (figures[name] for name in CONTESTANTS)
    for name, other in (("over_defaults", peer), ("over_grouping", grouped)):
        figures[name] = {case: ours[case]["rows_per_second"] / other[case]["rows_per_second"] for case in ours}
    record("gpu", figures=figures, targets=TARGETS, libraries=("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
