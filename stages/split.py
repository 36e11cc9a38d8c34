"""Stage split: table and near-duplicate clusters -> fold manifest."""

from pipeline.artifacts.frames import read_frame
from pipeline.artifacts.paths import CLUSTERS
from pipeline.artifacts.table import read_table, write_folds
from pipeline.data.splitting import assign_folds
from pipeline.stage_run import stage_run


def main() -> None:
    """Split the training rows of every task."""
    with stage_run() as params:
        table = read_table()
        clusters = read_frame(CLUSTERS)[0]
        write_folds(assign_folds(table, clusters, folds=params.folds, seed=params.seed))


if __name__ == "__main__":
    main()
