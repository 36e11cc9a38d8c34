"""Write the report, one self-contained page, and the learning curves for `dvc plots`."""

import json
from typing import Any

from pipeline import artifacts
from pipeline.exceptions import exit_on_error
from pipeline.executing import LAST_RUN
from pipeline.params import load_params
from pipeline.plotting import learning_curves_csv
from pipeline.reporting import Texts, render
from pipeline.reproducibility import versions


def main() -> None:
    """Run the stage."""
    with exit_on_error():
        params = load_params()
        scores = artifacts.read_json(artifacts.SCORES)
        histories = {
            name: artifacts.read_json(artifacts.OUT / "finetune" / name / "history.json") for name in params.encoders
        }
        page = render(
            scores,
            audit=artifacts.read_json(artifacts.AUDIT),
            histories=histories,
            last_runs=_last_runs(params.members),
            submission=artifacts.read_json(artifacts.SUBMIT / "submission.json"),
            params=params.model_dump(exclude={"run"}),  # where it ran changes nothing on the page
            texts=_texts(artifacts.read_table(), scores),
            versions=versions(),
            manifest=artifacts.read_folds().digest,
        )
        artifacts.write_bytes(artifacts.REPORT / "report.html", page.encode("utf-8", "replace"))
        artifacts.write_atomically(artifacts.PLOTS / "learning_curves.csv", learning_curves_csv(histories).encode())


def _last_runs(members: list[str]) -> list[dict[str, Any]]:
    """Return what the last runs of today's members computed and reused, as far as it is known."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(LAST_RUN.glob("*.json"))]
    return [record for record in records if record["stage"].partition("-")[2] in members]


def _texts(table: artifacts.Table, scores: dict[str, Any]) -> Texts:
    """Return the texts of the hardest rows only: task -> row id -> (text, second text or None)."""
    texts: Texts = {}
    for task, found in scores["tasks"].items():
        wanted = [row["row_id"] for row in found["hardest"]]
        rows = table.select(task, "train")
        rows = rows[rows["row_id"].isin(wanted)]
        pairs = [pair if isinstance(pair, str) else None for pair in rows["text_pair"]]
        texts[task] = dict(zip(rows["row_id"], zip(rows["text"], pairs, strict=True), strict=True))
    return texts


if __name__ == "__main__":
    main()
