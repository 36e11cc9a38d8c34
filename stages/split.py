"""Stage split: table and near-duplicate clusters -> fold manifest."""

from pipeline import artifacts
from pipeline.declared_inputs import declared_inputs
from pipeline.params import load_params
from pipeline.paths import CLUSTERS
from pipeline.splitting import assign_folds
from pipeline.stage_run import exit_on_error


def main() -> None:
    """Split the training rows of every task."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        table = artifacts.read_table()
        clusters = artifacts.read_frame(CLUSTERS)[0]
        artifacts.write_folds(assign_folds(table, clusters, folds=params.folds, seed=params.seed))


if __name__ == "__main__":
    main()
