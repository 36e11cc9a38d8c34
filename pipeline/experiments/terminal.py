"""A table of what was tried, as lines of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.number_formats import score, signed


def table_lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table as `write_table` wrote it: a setting each, the costs where they are known, the note."""
    width = max(30, *(len(row["variant"]) + 2 for row in table["rows"]))
    if table["kind"] == "standard":
        yield f"{table['task']}: {table['metric']} on spared rows, mean and variance over epochs and seeds; after each epoch"
        for row in table["rows"]:
            spread = "–" if row["variance"] is None else f"{row['variance']:.2e}"
            by_epoch = " ".join(map(score, row["epochs"]))
            yield f"  {row['variant']:<{width}}{score(row['mean'])}  {spread}   {by_epoch}"
        yield f"  {table['note']}"
        return
    yield (
        f"{table['task']}: {table['metric']}, out-of-fold; difference from {table['reference']!r} with its standard error "
        "and 95 % interval"
    )
    for row in table["rows"]:
        low, high = signed(row["difference_low"]), signed(row["difference_high"])
        difference = f"{signed(row['difference'])} ± {score(row['standard_error'])} [{low}, {high}]"
        if row["variant"] == table["reference"]:
            difference = f"{'–':<{len(difference)}}"
        beyond = " *" if row["beyond_chance"] else "  "
        yield f"  {row['variant']:<{width}}{score(row['score'])}  {difference}{beyond}{_costs(row)}".rstrip()
    yield f"  {table['note']}"


def _costs(row: Mapping[str, Any]) -> str:
    """Return time and memory as ratios to the reference, nothing where they are not known.

    >>> _costs({"time_ratio": 2.04, "memory_ratio": None})
    '  time × 2.04'
    """
    named = {"time": row.get("time_ratio"), "memory": row.get("memory_ratio")}
    return "".join(f"  {name} × {ratio:.2f}" for name, ratio in named.items() if ratio is not None)
