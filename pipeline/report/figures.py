"""The figures of the report: SVG that takes colours and font from the page around it.

Drawn by matplotlib with text kept as text, without dates or random ids: the same values give the same bytes.
"""

import csv
import io
import itertools
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.artifacts.histories import ModelHistory, PretrainingRecord, UnitRecord
from pipeline.artifacts.scores import Gain, ModelScore, TaskScores

# matplotlib knows no CSS variables: a colour below stands for one until the SVG is inlined, so that one drawing
# serves light, dark and paper.
INK, MUTED, LINE, ACCENT, STRONG = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", STRONG: "--strong"}
POINTS_PER_CURVE = 150
NAME_LENGTH = 32
STYLE: Any = {  # matplotlib types it by a literal of all its keys
    "svg.fonttype": "none",
    "svg.hashsalt": "stitchfold",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.family": "DejaVu Sans",  # comes with matplotlib: text is measured alike on every machine
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Estimate:
    """One line of a dot-and-interval plot; `dots` are the values of single folds."""

    name: str
    value: float
    low: float
    high: float
    dots: tuple[float, ...] = ()
    strong: bool = False


def intervals(
    estimates: list[Estimate], *, label: str, title: str, reference: float | None = None, name_length: int = NAME_LENGTH
) -> str:
    """Return a dot-and-interval plot, the first estimate on top; nothing where there is nothing to draw.

    `label` is that of the horizontal axis, `title` for screen readers; a dashed line stands at `reference`. Names longer than
    `name_length` are cut.
    """
    if not estimates:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2 * max(1, name_length / 48), 0.6 + 0.26 * len(estimates)), layout="constrained")
        axes = figure.add_subplot()
        for line, estimate in enumerate(estimates):
            colour = STRONG if estimate.strong else ACCENT
            axes.plot([estimate.low, estimate.high], [line, line], color=colour, linewidth=1.8)
            axes.plot(estimate.dots, [line] * len(estimate.dots), "o", color=MUTED, markersize=3, alpha=0.5, mew=0)
            axes.plot([estimate.value], [line], "o", color=colour, markersize=5.5, mew=0)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(estimates)), [short(estimate.name, name_length) for estimate in estimates], color=INK)
        axes.set_ylim(len(estimates) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        return _inline(figure, title=title)


def losses(task: str, encoder: str, units: Sequence[UnitRecord | PretrainingRecord]) -> str:
    """Return one encoder's training loss by step, its folds over each other, each thinned to means of neighbours.

    Of a model of several tasks the loss is that of this one.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.1), layout="constrained")
        axes = figure.add_subplot()
        for unit in units:
            points = [(point["step"], point["loss"]) for point in unit["steps"]]
            if "task_weights" in unit:
                points = [(point["step"], point["losses"][task]) for point in unit["steps"] if task in point["losses"]]
            steps, values = ([point[axis] for point in points] for axis in (0, 1))
            axes.plot(thin(steps), thin(values), color=ACCENT, linewidth=1.1, alpha=0.65)
        axes.set(xlabel="step", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.margins(x=0.01)
        return _inline(figure, title=f"{task}: training loss of {encoder}")


def task_weights(task: str, encoder: str, units: list[UnitRecord]) -> str:
    """Return how much each task's loss counted in a model of several, a line per fold and task, this task's strong."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.1), layout="constrained")
        axes = figure.add_subplot()
        for unit in units:
            for name in unit["task_weights"][0]["weights"]:
                steps, weights = zip(
                    *((point["step"], point["weights"][name]) for point in unit["task_weights"]), strict=True
                )
                axes.plot(steps, weights, color=STRONG if name == task else ACCENT, linewidth=1.1, alpha=0.65)
        axes.set(xlabel="step", ylabel="weight")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        return _inline(figure, title=f"{task}: weights of the tasks in {encoder}")


def epoch_curves(curves: Mapping[str, Sequence[float | None]], *, label: str, title: str, strong: str) -> str:
    """Return scores by epoch, from 1, a line per name, the name at its end; that of `strong` stands out."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for name, scores in curves.items():
            colour, values = STRONG if name == strong else ACCENT, [float("nan") if y is None else y for y in scores]
            axes.plot(range(1, len(values) + 1), values, "o-", color=colour, linewidth=1.1, markersize=3)
            axes.annotate(
                short(name), (len(values), values[-1]), (6, 0), textcoords="offset points", va="center", color=colour
            )
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _inline(figure, title=title)


def reliability(bins: list[dict[str, Any]], *, title: str) -> str:
    """Return a reliability diagram, or nothing without rows: a dot's area grows with its bin's share of the rows."""
    filled = [part for part in bins if part["rows"]]
    if not filled:
        return ""
    total = sum(part["rows"] for part in filled)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        confidences, accuracies = ([part[key] for part in filled] for key in ("confidence", "accuracy"))
        axes.plot(confidences, accuracies, color=ACCENT, linewidth=1.1)
        sizes = [12 + 180 * part["rows"] / total for part in filled]
        axes.scatter(confidences, accuracies, s=sizes, color=ACCENT, linewidths=0, alpha=0.75)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xlabel="confidence", ylabel="accuracy")
        return _inline(figure, title=title)


def scatter(points: dict[str, Any], *, title: str) -> str:
    """Return predicted numbers against true ones, and beside it what is left of the true ones against the predicted."""
    true, predicted = points["true"], points["predicted"]
    ends = [min(true + predicted), max(true + predicted)]
    panels = [
        (true, predicted, ends, "true", "predicted"),
        (predicted, [t - p for t, p in zip(true, predicted, strict=True)], [0, 0], "predicted", "true − predicted"),
    ]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 2.9), layout="constrained")
        for place, (across, up, line, xlabel, ylabel) in enumerate(panels, start=1):
            axes = figure.add_subplot(1, 2, place)
            axes.plot(ends, line, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.scatter(across, up, s=9, color=ACCENT, linewidths=0, alpha=0.5)
            axes.set(xlabel=xlabel, ylabel=ylabel)
        return _inline(figure, title=title)


def model_scores(task: str, scores: TaskScores, models: list[ModelScore]) -> str:
    """Return the models' scores with their intervals and their folds' scores; the baseline is the dashed line."""
    estimates = [
        Estimate(
            model["name"], model["score"], model["low"], model["high"], strong=model["name"] == scores["chosen"],
            dots=tuple(score for repeat in model["folds"] for score in repeat if score is not None),
        )
        for model in models
        if None not in (model["score"], model["low"], model["high"])
    ]  # fmt: skip
    title = f"{task}: {scores['metric']} of every model"
    return intervals(estimates, label=scores["metric"], title=title, reference=scores["baseline"])


def gains(
    title: str, label: str, by_name: Iterable[tuple[str, Gain | None]], *, strong: Callable[[str, Gain], bool]
) -> str:
    """Return gains by name with their paired intervals; `strong` says which stand out."""
    estimates = [
        Estimate(name, gain["value"], gain["low"], gain["high"], strong=strong(name, gain))
        for name, gain in by_name
        if gain and None not in (gain["value"], gain["low"], gain["high"])
    ]
    return intervals(estimates, label=label, title=f"{title}: {label}", reference=0.0)


def learning_curves_csv(histories: dict[str, ModelHistory]) -> str:
    """Return every step's loss as csv with the columns encoder, task, repeat, fold, step, loss.

    >>> unit = {"task": "t", "repeat": 0, "fold": 1, "steps": [{"step": 5, "loss": 0.5}]}
    >>> learning_curves_csv({"bert": {"units": [unit]}}).splitlines()
    ['encoder,task,repeat,fold,step,loss', 'bert,t,0,1,5,0.5']
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["encoder", "task", "repeat", "fold", "step", "loss"])
    for encoder, history in histories.items():
        for unit in history["units"]:
            trained = [encoder, unit["task"], unit["repeat"], unit["fold"]]
            writer.writerows([*trained, step["step"], step["loss"]] for step in unit["steps"])
    return buffer.getvalue()


def thin(values: Sequence[float], n_points: int = POINTS_PER_CURVE) -> list[float]:
    """Return at most `n_points` means of neighbouring values.

    >>> thin([1.0, 3.0, 5.0, 7.0], n_points=2)
    [2.0, 6.0]
    """
    if len(values) <= n_points:
        return list(values)
    edges = [len(values) * point // n_points for point in range(n_points + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(edges)]


def short(name: str, length: int = NAME_LENGTH) -> str:
    """Return a name cut to a length; of the parts of a stitched model's name the longest are cut first.

    >>> short("multilingual+large+lstm", length=18)
    'multil…+large+lstm'
    """
    parts = name.split("+")
    while len(name) > length and len(max(parts, key=len)) > 1:
        longest = max(range(len(parts)), key=lambda number: len(parts[number]))
        parts[longest] = parts[longest].removesuffix("…")[:-1] + "…"
        name = "+".join(parts)
    return name


def _inline(figure: Figure, *, title: str) -> str:
    """Return a figure as an `<svg>` element for an HTML page, named for screen readers by its title."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # glyphs that only the browser has
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    prefix = re.sub(r"\W+", "-", title)
    for element in root.iter():
        for child in [child for child in element if _local(child.tag) in ("metadata", "style")]:
            element.remove(child)
        element.tag = _local(element.tag)
        element.tail = None
        if element.tag != "text":
            element.text = None
        element.attrib = {_local(key): _themed(value) for key, value in element.attrib.items()}
        _name_apart(element, prefix=prefix)
    root.attrib = {"viewBox": root.get("viewBox", "0 0 1 1"), "role": "img", "aria-label": title}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _themed(value: str) -> str:
    for colour, variable in VARIABLES.items():
        value = value.replace(colour, f"var({variable})")
    return value.replace("'DejaVu Sans'", "var(--sans)")


def _name_apart(element: ElementTree.Element, *, prefix: str) -> None:
    """Make ids unique to their figure (several figures share the page), and drop those of mere groups."""
    if element.tag == "g":
        element.attrib.pop("id", None)
    for key in {"id", "href", "clip-path"} & element.attrib.keys():
        value = element.attrib[key]
        element.attrib[key] = f"{prefix}-{value}" if key == "id" else value.replace("#", f"#{prefix}-")
