"""Keep what a finished run of a real competition gave: its submission, its metrics and its params.

Run from the repository's root: python benchmarks/competition.py FOLDER MINUTES, where FOLDER is the checkout in which
`dvc repro` ran and MINUTES how long it took from clean. Writes benchmarks/results/<competition>/.
"""

import datetime
import json
import shutil
import sys
from pathlib import Path

from recording import RESULTS, machine
from ruamel.yaml import YAML


def main() -> None:
    """Copy the submission and the params and write metrics.json."""
    run, minutes = Path(sys.argv[1]), float(sys.argv[2])
    params = YAML(typ="safe").load((run / "params.yaml").read_text(encoding="utf-8"))
    metrics = json.loads((run / "out" / "metrics.json").read_text(encoding="utf-8"))
    submission = json.loads((run / "out" / "submit" / "submission.json").read_text(encoding="utf-8"))
    names = {task["metric"] for task in metrics["tasks"].values()}
    kept = {
        "metric": names.pop() if len(names) == 1 else sorted(names),
        **{name: metrics[name] for name in ("estimate", "low", "high", "out_of_fold", "best_single", "baseline")},
        "minutes": minutes,
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "tasks": metrics["tasks"],
    }
    folder = RESULTS / params["competition"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(run / submission["path"], folder / Path(submission["path"]).name)
    shutil.copyfile(run / "params.yaml", folder / "params.yaml")
    print(json.dumps(kept, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
