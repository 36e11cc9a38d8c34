"""Where every artifact lies under `out/`, and beside it what DVC must never remove: the boards."""

from pathlib import Path

OUT = Path("out")
TABLE = OUT / "prepare" / "table.parquet"
CLUSTERS = OUT / "prepare" / "clusters.parquet"
LIKENESS = OUT / "prepare" / "likeness.parquet"
AUDIT = OUT / "prepare" / "audit.json"
FOLDS = OUT / "split" / "folds.parquet"
RECIPES = OUT / "recipes"
SCORES = OUT / "stack" / "scores.json"
METRICS = OUT / "metrics.json"
SUBMIT = OUT / "submit"
SUBMISSION = SUBMIT / "submission.json"
REPORT = OUT / "report"
REPORT_PAGE = REPORT / "report.html"
PLOTS = OUT / "plots"
LEARNING_CURVES = PLOTS / "learning_curves.csv"
INPUTS = OUT / "inputs"
FIRST_SUBMISSION = (
    OUT / "baseline" / "submission"
)  # under a time budget: of the best baseline, before anything is trained
ABLATIONS = OUT / "ablate"
LAST_ERROR = OUT / "last_error.json"
BOARDS = Path("boards")
UNIT_PREDICTIONS = "predictions.parquet"
STITCHED = "stitch.json"  # beside a stitched model's weights: how it is built, and over which encoders


def encoder_recipe_path(encoder: str) -> Path:
    """Return where an encoder's recipe lies."""
    return RECIPES / "encoders" / f"{encoder}.json"


def stage_recipe_path(stage: str) -> Path:
    """Return where a stage's recipe lies."""
    return RECIPES / "stages" / f"{stage}.json"


def inputs_path(stage: str) -> Path:
    """Return where a stage, named as DVC names it, notes what it read."""
    return INPUTS / f"{stage}.json"


def predictions_path(stage: str, model: str, task: str) -> Path:
    """Return where a model's predictions for a task lie: `out/<stage>/<model>/<task>.parquet`."""
    return OUT / stage / model / f"{task}.parquet"


def pretrained_folder(model: Path, place: tuple[int, int] | None) -> Path:
    """Return where in a model's folder lies what was pre-trained for the fold of a repeat and number, or for all."""
    return model / "pretrained" / ("all" if place is None else f"r{place[0]}-f{place[1]}")


def left_out_path(stage: str, model: str = "") -> Path:
    """Return where a stage says of itself, or of a model, what its time budget left out."""
    return OUT / stage / model / "left_out.json"


def ensemble_path(task: str) -> Path:
    """Return where the state of a task's ensemble lies."""
    return OUT / "stack" / f"{task}.json"
