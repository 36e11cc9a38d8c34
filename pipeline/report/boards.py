"""Does the board follow the estimate? For the page and for the terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup
from scipy.stats import spearmanr
from tabulate import tabulate

from pipeline.artifacts.boards import Submitted
from pipeline.number_formats import correlation, score
from pipeline.report import figures

FEWEST = 3  # of two submissions any order is perfect, or perfectly wrong
HEADS = ("date", "model", "estimate", "95 %", "public", "private", "message")


def summary(rows: Sequence[Submitted]) -> str:
    """Return in words how the board's public scores go with what was expected; of a file submitted twice the last counts."""
    last = list({row.file: row for row in rows if row.public is not None}.values())
    inside = [row.inside for row in last if row.inside is not None]
    parts = [f"{sum(inside)} of {len(inside)} public scores lie in the interval that was expected"] if inside else []
    known = [row for row in last if row.estimate is not None]
    estimates, public = [row.estimate for row in known], [row.public for row in known]
    if len(known) >= FEWEST and len(set(estimates)) > 1 and len(set(public)) > 1:
        rank = float(spearmanr(estimates, public).statistic)
        parts.append(f"rank correlation of estimate and public score {correlation(rank)} over {len(known)} submissions")
    return "; ".join(parts)


def describe(rows: Sequence[Submitted], metrics: Iterable[str]) -> dict[str, Any] | None:
    """Return what the page shows of the board, the last submission first; None without one."""
    if not rows:
        return None
    newest_first = list(reversed(rows))
    estimates = [
        figures.Estimate(
            f"{row.date[:10]} {row.model}", row.public, row.low, row.high, dots=(row.estimate,), strong=not row.inside
        )
        for row in newest_first
        if row.public is not None and row.estimate is not None and row.low is not None and row.high is not None
    ]
    label = f"public score ({', '.join(dict.fromkeys(metrics))} expected)"
    plot = figures.intervals(estimates, label=label, title="The board's scores and what was expected")
    return {"rows": newest_first, "summary": summary(rows), "plot": Markup(plot)}


def lines(rows: Sequence[Submitted]) -> list[str]:
    """Return the submissions as lines for a terminal, and how the board goes with what was expected."""
    table = [
        (row.date[:10], row.model, score(row.estimate), f"[{score(row.low)}, {score(row.high)}]", score(row.public),
         score(row.private), row.message)
        for row in rows
    ]  # fmt: skip
    return [
        *tabulate(table, HEADS, tablefmt="plain", disable_numparse=True).splitlines(),
        *filter(None, [summary(rows)]),
    ]
