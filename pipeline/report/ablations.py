"""What the report shows of `stitchfold ablate`: tables with a plot of differences and their intervals, or of epochs."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.report import figures

EXPERIMENTS = {
    "edits": "With and without edits of params.yaml",
    "standard": "Validation scores over epochs",
    "layers": "Layers as features",
}
"""Tables of the report's section of experiments, with their titles; others stand with what they are about."""
# What the variables are where there is no page.
COLOURS = {"--ink": "#1c2126", "--muted": "#5d6771", "--line": "#dde2e6", "--accent": "#4178b0", "--strong": "#b4531b"}
LONGEST_NAME = 72  # edits of params.yaml that are cut cannot be told apart


def ablation_plot(table: Mapping[str, Any]) -> str:
    """Return the plot of a table of `stitchfold ablate` as SVG for a page; nothing where there is nothing to draw."""
    metric, reference, rows = table["metric"], table["reference"], table["rows"]
    title = f"{table['task']}: {table['kind']}"
    if table["kind"] == "standard":
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
    label = f"difference in {metric} from '{reference}'"
    return figures.intervals(estimates, label=label, title=title, reference=0.0, name_length=length)


def experiments(tables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tables of a task's experiments, by the command that wrote each, with title and plot."""
    return [
        {**tables[kind], "title": title, "plot": Markup(ablation_plot(tables[kind]))}
        for kind, title in EXPERIMENTS.items()
        if kind in tables
    ]


def standalone(svg: str) -> str:
    """Return a figure as a file of its own: in the colours of the light page, on white."""
    for variable, colour in COLOURS.items():
        svg = svg.replace(f"var({variable})", colour)
    svg = svg.replace("var(--sans)", "sans-serif")
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background: white" ', 1)
