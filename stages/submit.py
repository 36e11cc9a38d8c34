"""Write the chosen model's test predictions as the file that the competition accepts."""

from pathlib import Path

from pipeline import artifacts
from pipeline.exceptions import exit_on_error
from pipeline.params import load_params
from pipeline.submitting import common_format, frame_of_tests, path_of_model, publish, summary


def main() -> None:
    """Run the stage."""
    with exit_on_error():
        params = load_params()
        form = common_format(params)
        table = artifacts.read_table()
        manifest = artifacts.verify(artifacts.FOLDS)
        frames, samples = {}, {}
        for name, task in params.tasks.items():
            path = path_of_model(params.submit.model, name, baselines=list(params.baselines))
            frames[name] = frame_of_tests(artifacts.read_predictions(path, manifest=manifest), table)
            samples[name] = Path(task.submission.sample) if task.submission.sample else None
        path, digest = publish(form, frames, samples, artifacts.SUBMIT)
        report = summary(params.submit.model, frames, manifest, path, digest)
        artifacts.write_json(artifacts.SUBMIT / "submission.json", report)


if __name__ == "__main__":
    main()
