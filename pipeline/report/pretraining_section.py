"""The report's part on further pre-training: whose texts it saw, and how well it came to tell texts that were held out."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.artifacts.histories import ModelHistory, PretrainingRecord
from pipeline.report import figures


def describe(histories: Mapping[str, ModelHistory]) -> list[dict[str, Any]]:
    """Return what the template shows of each encoder that was pre-trained further: its curve, and a line per unit."""
    return [
        {
            "encoder": encoder,
            "svg": Markup(figures.losses("texts", f"{encoder}, pre-trained further", history["pretraining"])),
            "lines": [_line(record) for record in history["pretraining"]],
        }
        for encoder, history in histories.items()
        if "pretraining" in history
    ]


def _line(record: PretrainingRecord) -> dict[str, Any]:
    seen, scores = record["seen"], record["scores"]
    texts = [f"{n:,} of {name}" for name, n in seen["texts"].items()]
    rules = ["test texts took part" if seen["transductive"] else "no test texts"]
    rules += ["no validation texts of its fold"] if seen["per_fold"] else ["texts of all folds"]
    return {
        "name": record["name"],
        "seen": f"{', '.join(texts)} ({'; '.join(rules)})",
        "held_out": record["n_held_out"],
        "perplexities": [score["perplexity"] for score in scores],
        "accuracies": [score["accuracy"] for score in scores if "accuracy" in score],
        "kept": record["kept_epoch"] + 1,
        "seconds": record["seconds"],
        "notes": record["notes"],
    }
