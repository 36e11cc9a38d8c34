"""Write the report, one self-contained page, and the learning curves for `dvc plots`."""

from pipeline.artifacts.boards import Board
from pipeline.artifacts.copies import SUMMARY
from pipeline.artifacts.files import read_json, write_atomically, write_bytes
from pipeline.artifacts.paths import AUDIT, LEARNING_CURVES, REPORT_PAGE
from pipeline.artifacts.scores import read_left_out_of_scores, read_scores
from pipeline.artifacts.submissions import read_submissions
from pipeline.artifacts.table import read_folds, read_table
from pipeline.errors.failpoints import failpoint
from pipeline.report.figures import learning_curves_csv
from pipeline.report.inputs import read_ablations, read_histories, read_last_runs, texts_of_hardest
from pipeline.report.leaks import find_leaks, refuse_leaks
from pipeline.report.reporting import render
from pipeline.reproducibility import versions
from pipeline.stage_run import stage_run
from pipeline.units.budget import without_left_out


def main() -> None:
    """Run the stage."""
    with stage_run() as params:
        asked, params = params, without_left_out(params)
        scores, folds = read_scores(), read_folds()
        histories = read_histories("finetune", params.encoders)
        leaks = find_leaks(params)
        page = render(
            scores,
            leaks=leaks,
            audit=read_json(AUDIT),
            histories=histories,
            stitched=read_histories("stitch", params.stitch.models(list(params.encoders))),
            augmentation=read_json(SUMMARY),
            ablations=read_ablations(params.tasks),
            board=Board(params.competition).read(),
            last_runs=read_last_runs(params.members, folds),
            submissions=read_submissions(),
            params=asked.model_dump(exclude={"run"}),  # where it ran changes nothing on the page
            left_out=read_left_out_of_scores(),
            texts=texts_of_hardest(read_table(), scores),
            versions=versions(),
            manifest=folds.digest,
        )
        failpoint("report")
        write_bytes(REPORT_PAGE, page.encode("utf-8", "replace"))
        write_atomically(LEARNING_CURVES, learning_curves_csv(histories).encode())
        refuse_leaks(leaks)


if __name__ == "__main__":
    main()
