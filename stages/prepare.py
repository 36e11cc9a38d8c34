"""Stage prepare: raw files -> table, near-duplicate clusters, audit."""

from pipeline import artifacts
from pipeline.auditing import audit
from pipeline.declared_inputs import declared_inputs
from pipeline.near_duplicates import cluster_rows
from pipeline.params import load_params
from pipeline.paths import AUDIT, CLUSTERS
from pipeline.preparing import prepare
from pipeline.stage_run import exit_on_error
from pipeline.submitting import rehearse


def main() -> None:
    """Prepare the tasks of params.yaml."""
    with exit_on_error(), declared_inputs():
        params = load_params()
        table = prepare(params.tasks)
        rehearse(params, table)
        similarity = params.folds.near_duplicate_similarity
        # Folds look at training rows alone: another test file must not move them.
        train = artifacts.Table(table.rows[table.rows["split"] == "train"], table.labels)
        artifacts.write_table(table)
        artifacts.write_frame(CLUSTERS, cluster_rows(train, similarity=similarity), {})
        known = artifacts.Table(table.rows[table.rows["split"] != "unlabelled"], table.labels)
        artifacts.write_json(AUDIT, audit(known, cluster_rows(known, similarity=similarity)))


if __name__ == "__main__":
    main()
