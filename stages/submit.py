"""Stage `submit`: the chosen model's test predictions -> out/submit, the file that the competition accepts, checked."""

from pipeline import artifacts
from pipeline.declared_inputs import declared_inputs
from pipeline.params import load_params
from pipeline.paths import FOLDS, SUBMIT
from pipeline.stage_run import exit_on_error
from pipeline.submitting import common_format, frames_and_samples, publish, summary


def main() -> None:
    """Write the submission."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        form = common_format(params)
        manifest = artifacts.verify(FOLDS)
        frames, samples = frames_and_samples(params, artifacts.read_table(), manifest)
        path, digest = publish(form, frames, samples, SUBMIT)
        record = summary(params.submit.model, frames, manifest, path, digest)
        artifacts.write_json(SUBMIT / "submission.json", record)


if __name__ == "__main__":
    main()
