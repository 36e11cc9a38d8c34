"""Stage `submit`: the chosen model's test predictions -> out/submit, the files that the competition accepts, checked."""

from pipeline.artifacts.files import verify
from pipeline.artifacts.paths import FOLDS, SUBMIT
from pipeline.artifacts.table import read_table
from pipeline.stage_run import stage_run
from pipeline.submit.submissions import chosen_predictions, publish_all
from pipeline.units.budget import refuse_left_out


def main() -> None:
    """Write the submission of each test file."""
    with stage_run() as params:
        refuse_left_out(params)
        chosen = chosen_predictions(params, verify(FOLDS))
        publish_all(params, read_table(), chosen, model=params.submit.model, folder=SUBMIT)


if __name__ == "__main__":
    main()
