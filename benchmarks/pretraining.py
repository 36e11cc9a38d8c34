"""How fast an encoder is pre-trained further: rows per second against `transformers.Trainer` with its own collator.

The same checkpoint, texts, tokens per row at most, rows per step, learning rate and precision; tokens are masked one by one
at 15 %, drawn anew in each epoch; neither evaluates. Each run is a process of its own, sides take turns, the median of the
ratios over rounds counts. Time is that of the training loop, from its first step to its last.
Run from the repository's root: python benchmarks/pretraining.py [rounds] [model folder] [file of texts] [rows].
Writes benchmarks/results/pretraining.json. BENCHMARK_DEVICE=cuda runs it on a GPU.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from recording import ROOT, record

DEVICE = os.environ.get("BENCHMARK_DEVICE", "cpu")
N_THREADS, MAX_LENGTH, BATCH_SIZE, RATE = 2, 96, 32, 5e-5
TARGETS = {"rows_per_second_over_trainer_at_least": 1.3}
SIDES = ("stitchfold", "trainer")


def ours(model: str, texts: list[str]) -> float:
    """Return the seconds of an epoch of this project's pre-training."""
    from pipeline.params.encoders import Pretraining
    from pipeline.params.fields import Component
    from pipeline.pretrain.pretraining import build_pretraining
    from pipeline.reproducibility import fixed_numerics
    from pipeline.training.loop import train

    keys = {"masking": "tokens", "max_length": MAX_LENGTH, "batch_size": BATCH_SIZE, "learning_rate": RATE}
    settings = Pretraining.model_validate({**keys, "epochs": 1, "held_out_ratio": 0.0, "precision": "fp32"})
    source = Component(kind="encoders", name="pretrained", options={"path": model})
    with fixed_numerics(N_THREADS, on_gpu=DEVICE == "cuda"):
        options: dict[str, Any] = {"texts": texts, "source": source, "max_length": MAX_LENGTH, "seed": 0}
        trainee, _ = build_pretraining(settings=settings, **options)
        loop = {"settings": settings.training, "seed": 0, "device": DEVICE}
        started = time.perf_counter()
        train(trainee.model, trainee.objective, trainee.parameter_groups, **loop)
        return time.perf_counter() - started


def peers(model: str, texts: list[str]) -> float:
    """Return the seconds of an epoch of `Trainer`, with its defaults but for what both sides share."""
    import torch
    from transformers import (
        AutoModelForMaskedLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    torch.set_num_threads(N_THREADS)
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [{"input_ids": ids} for ids in tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=1, per_device_train_batch_size=BATCH_SIZE, learning_rate=RATE, save_strategy="no",
            report_to=[], use_cpu=DEVICE == "cpu", seed=0, disable_tqdm=True,
        )  # fmt: skip
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        trainer = Trainer(AutoModelForMaskedLM.from_pretrained(model), arguments, collator, rows)
        started = time.perf_counter()
        trainer.train()
        return time.perf_counter() - started


def main() -> None:
    """Time both sides in every round and write the ratio."""
    if sys.argv[1:2] == ["--side"]:
        side, model, file, n_rows, out = sys.argv[2:]
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        texts = [line.strip() for line in dict.fromkeys(lines) if line.strip()][: int(n_rows)]
        seconds = {"stitchfold": ours, "trainer": peers}[side](model, texts)
        Path(out).write_text(
            json.dumps({"rows": len(texts), "rows_per_second": len(texts) / seconds}), encoding="utf-8"
        )
        return
    n_rounds, model, file, n_rows = [
        *sys.argv[1:],
        *["3", "models/minilm", "data/pretraining.txt", "2000"][len(sys.argv) - 1 :],
    ]
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(int(n_rounds)):
        for side in SIDES[:: 1 if number % 2 else -1]:
            speeds[side].append(_in_a_process(side, model, file, n_rows))
            print(number, side, round(speeds[side][-1], 1), flush=True)
    ratios = [first / second for first, second in zip(*(speeds[side] for side in SIDES), strict=True)]
    figures = {
        "device": DEVICE, "rounds": int(n_rounds), "model": Path(model).name, "rows": int(n_rows), "max_length": MAX_LENGTH,
        "threads": N_THREADS, "rows_per_second": {side: median(values) for side, values in speeds.items()},
        "over_trainer": median(ratios), "lowest": min(ratios), "highest": max(ratios),
    }  # fmt: skip
    record("pretraining", figures=figures, targets=TARGETS, libraries=("torch", "transformers"))


def _in_a_process(side: str, *arguments: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "speed.json"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(N_THREADS)}
        command = [sys.executable, __file__, "--side", side, *arguments, str(out)]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        return float(json.loads(out.read_text(encoding="utf-8"))["rows_per_second"])


if __name__ == "__main__":
    main()
