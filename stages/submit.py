"""Stage `submit`: the chosen model's test predictions -> out/submit, the file that the competition accepts, checked."""

from pipeline.artifacts.files import verify, write_json
from pipeline.artifacts.paths import FOLDS, SUBMISSION, SUBMIT
from pipeline.artifacts.table import read_table
from pipeline.stage_run import stage_run
from pipeline.submit.submitting import common_format, frames_and_samples, publish, summary
from pipeline.units.budget import refuse_left_out


def main() -> None:
    """Write the submission."""
    with stage_run() as params:
        refuse_left_out(params)
        form = common_format(params)
        manifest = verify(FOLDS)
        frames, samples = frames_and_samples(params, read_table(), manifest)
        path, digest = publish(form, frames, samples, SUBMIT)
        record = summary(params.submit.model, frames, manifest, path, digest)
        write_json(SUBMISSION, record)


if __name__ == "__main__":
    main()
