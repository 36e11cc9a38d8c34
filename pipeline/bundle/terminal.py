"""What `stitchfold bundle` prints: the members in the order in which a run adds them, and what each takes and is worth."""

from pipeline.bundle.bundle import Bundled
from pipeline.number_formats import score, signed, size_text

HEAD = ("member", "size", "s per 1,000 rows", "score without it", "score so far")


def members_text(bundled: Bundled) -> str:
    """Return the table of members, and how the bundle's score differs from that of the whole ensemble.

    The size is that which only the member needs; seconds are those of the member alone, on the CPU here; then how the score
    changes without it, cross-fitted; the last column is the score of the mean of the members down to there.
    """
    stacked, rows = bundled.stacked, [HEAD]
    for name in bundled.members:
        seconds = bundled.seconds.get(name)
        rows.append((
            name, size_text(bundled.sizes[name]), "–" if seconds is None else f"{1000 * seconds:.1f}",
            signed(-stacked.costs[name]) if stacked and name in stacked.costs else "–",
            score(stacked.scores[name]) if stacked else "–",
        ))  # fmt: skip
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if stacked and "bundle" in stacked.scores:
        lines.append(
            f"out-of-fold {score(stacked.scores['bundle'])} without the others, {score(stacked.scores['ensemble'])} with all"
        )
    if bundled.n_rows:
        lines.append(f"tried alone on {bundled.n_rows} test rows" + _difference(bundled))
    return "\n".join(lines)


def _difference(bundled: Bundled) -> str:
    known = bundled.difference == bundled.difference
    return f": they are predicted as in out/ to within {bundled.difference:.1g}" if known else ""
