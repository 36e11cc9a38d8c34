"""The plots of what was tried: differences with their intervals, or scores by epoch."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import figures

LONGEST_NAME = 72  # edits of params.yaml that are cut cannot be told apart


def ablation_plot(table: Mapping[str, Any]) -> str:
    """Return the plot of a table of `stitchfold ablate` as SVG for a page; nothing where there is nothing to draw."""
    metric, reference, rows = table["metric"], table["reference"], table["rows"]
    title = f"{table['task']}: {table['kind']}"
    if any("epochs" in row and "mean" in row for row in rows):
        curves = {row["variant"]: row["epochs"] for row in rows}
        return figures.epoch_curves(curves, label=metric, title=title, strong=reference)
    estimates = [
        figures.Estimate(
            row["variant"],
            row["difference"],
            row["difference_low"],
            row["difference_high"],
            strong=row["beyond_chance"],
        )
        for row in rows
        if row["variant"] != reference and None not in (row["difference"], row["difference_low"])
    ]
    length = min(LONGEST_NAME, max((len(estimate.name) for estimate in estimates), default=0))
    label = f"difference in {metric} from {reference}"
    return figures.intervals(estimates, label=label, title=title, reference=0.0, name_length=length)
