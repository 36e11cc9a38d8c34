"""Keep what a finished run of a real competition gave: its submissions, its metrics and its params.

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

from pipeline.artifacts.paths import SUBMIT
from pipeline.artifacts.submissions import read_submissions


def main() -> None:
    """Copy the submissions and the params and write metrics.json."""
    run, minutes = Path(sys.argv[1]), float(sys.argv[2])
    params = YAML(typ="safe").load((run / "params.yaml").read_text(encoding="utf-8"))
    metrics = json.loads((run / "out" / "metrics.json").read_text(encoding="utf-8"))
    submissions = read_submissions(run / SUBMIT)
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
    for file, submission in submissions.items():
        (folder / file).mkdir(exist_ok=True)
        shutil.copyfile(run / submission["path"], folder / file / Path(submission["path"]).name)
    shutil.copyfile(run / "params.yaml", folder / "params.yaml")
    print(json.dumps(kept, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
