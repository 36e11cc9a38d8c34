"""Stage split: table, near-duplicate clusters and likeness to the test file -> fold manifest."""

from pipeline.artifacts.frames import read_frame
from pipeline.artifacts.likeness import read_likeness
from pipeline.artifacts.paths import CLUSTERS
from pipeline.artifacts.table import read_table, write_folds
from pipeline.data.splitting import assign_folds
from pipeline.stage_run import stage_run


def main() -> None:
    """Split the training rows of every task."""
    with stage_run() as params:
        table = read_table()
        clusters = read_frame(CLUSTERS)[0]
        likeness = read_likeness()[0]
        write_folds(assign_folds(table, clusters, likeness, folds=params.folds, seed=params.seed))


if __name__ == "__main__":
    main()
