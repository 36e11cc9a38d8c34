"""Stage `submit`: the chosen model's test predictions -> out/submit, the file that the competition accepts, checked."""

from pipeline.artifacts.files import verify, write_json
from pipeline.artifacts.paths import FOLDS, SUBMIT
from pipeline.artifacts.table import read_table
from pipeline.params.loading import load_params
from pipeline.recipes.declared_inputs import declared_inputs
from pipeline.stage_run import exit_on_error
from pipeline.submit.submitting import common_format, frames_and_samples, publish, summary


def main() -> None:
    """Write the submission."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        form = common_format(params)
        manifest = verify(FOLDS)
        frames, samples = frames_and_samples(params, read_table(), manifest)
        path, digest = publish(form, frames, samples, SUBMIT)
        record = summary(params.submit.model, frames, manifest, path, digest)
        write_json(SUBMIT / "submission.json", record)


if __name__ == "__main__":
    main()
