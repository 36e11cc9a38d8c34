"""Stage prepare: raw files -> table, near-duplicate clusters, likeness of the rows to the test file's, audit."""

from pipeline.artifacts.files import write_json
from pipeline.artifacts.frames import write_frame
from pipeline.artifacts.likeness import write_likeness
from pipeline.artifacts.paths import AUDIT, CLUSTERS
from pipeline.artifacts.table import write_table
from pipeline.data.auditing import audit
from pipeline.data.likeness import measure_likeness
from pipeline.data.preparing import prepare
from pipeline.data.score_where import read_marks
from pipeline.data.splitting import cluster_rows
from pipeline.stage_run import stage_run
from pipeline.submit.rehearsal import rehearse


def main() -> None:
    """Prepare the tasks of params.yaml."""
    with stage_run() as params:
        table = prepare(params.tasks)
        rehearse(params, table)
        similarity = params.folds.near_duplicate_similarity
        # Folds look at training rows alone: another test file must not move them.
        train = table.only("train")
        write_table(table)
        write_frame(CLUSTERS, cluster_rows(train, similarity=similarity), {})
        known = table.only("train", "test")
        clusters = cluster_rows(known, similarity=similarity)
        rows, likeness = measure_likeness(known, clusters)
        marked = read_marks(rows, params.tasks, score_where=params.folds.score_where)
        write_likeness(rows.assign(marked=marked), likeness)
        write_json(AUDIT, audit(known, clusters, likeness))


if __name__ == "__main__":
    main()
