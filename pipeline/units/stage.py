"""What asks for units, a stage of the graph or a part of one, and the record of its last run."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.artifacts.files import write_atomically

LAST_RUN = Path(".stitchfold/last_run")


@dataclass(frozen=True)
class Stage:
    """A stage of the graph or a part of one, for all its units or for those of one model or of one fold."""

    kind: str
    model: str | None = None
    task: str | None = None
    repeat: int | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """Return the name for people and files; nobody parses it.

        >>> Stage("finetune", model="bert").name, Stage("stitch-heads", task="news", repeat=0, fold=1).name
        ('finetune-bert', 'stitch-heads-news-r0-f1')
        """
        fold = None if self.fold is None else f"{self.task}-r{self.repeat}-f{self.fold}"
        return "-".join(filter(None, (self.kind, self.model, fold)))


@dataclass(frozen=True)
class LastRun:
    """How many units the last run of a stage computed and found in the store, and how long it took."""

    stage: Stage
    computed: int
    reused: int
    seconds: float

    def write(self) -> None:
        """Write it down in the place of the run before."""
        write_atomically(LAST_RUN / f"{self.stage.name}.json", (json.dumps(asdict(self)) + "\n").encode())


def recorded_runs(folder: Path = LAST_RUN) -> list[LastRun]:
    """Return the records of all stages by name, without damaged ones, on which nothing else depends."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(path.read_text(encoding="utf-8"))
            runs.append(LastRun(**{**record, "stage": Stage(**record["stage"])}))
    return runs
