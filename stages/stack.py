"""Stage `stack`: the members' predictions to one ensemble per task, its honest score, metrics and plot data."""

from threadpoolctl import threadpool_limits

from pipeline.artifacts.files import write_atomically, write_json
from pipeline.artifacts.left_out import read_left_out
from pipeline.artifacts.likeness import read_likeness
from pipeline.artifacts.paths import METRICS, PLOTS, SCORES
from pipeline.artifacts.table import read_folds, read_table
from pipeline.ensemble.scoring import plot_tables
from pipeline.ensemble.summary import summarise
from pipeline.ensemble.task_stack import stack
from pipeline.stage_run import stage_run
from pipeline.units.budget import without_left_out


def main() -> None:
    """Stack every task; the scores are written when all tasks are done."""
    # One thread: the order in which a matrix product adds up must not depend on the machine.
    with stage_run() as params, threadpool_limits(1):
        left_out, params = read_left_out(params.encoders), without_left_out(params)
        table, folds, likeness = read_table(), read_folds(), read_likeness()
        scores = {task: stack(task, params, table=table, folds=folds, likeness=likeness) for task in params.tasks}
        write_json(SCORES, {"tasks": scores} | ({"left_out": left_out} if left_out else {}))
        write_json(METRICS, summarise(scores, table=table, n_left_out=len(left_out)))
        for name, text in plot_tables(scores).items():
            write_atomically(PLOTS / f"{name}.csv", text.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
