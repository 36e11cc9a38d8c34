"""What the report shows of confusion counts: a line per true label, and the most frequent mistakes."""

from typing import Any


def confusion_rows(confusion: list[list[int]], labels: list[str]) -> list[dict[str, Any]]:
    """Return a line per true label: its counts with their share of the line, total, recall and precision.

    >>> row = confusion_rows([[3, 1], [0, 0]], ["a", "b"])[0]
    >>> row["cells"][1], row["recall"], row["precision"]
    ({'rows': 1, 'share': 0.25}, 0.75, 1.0)
    """
    rows = []
    for number, (label, counts) in enumerate(zip(labels, confusion, strict=True)):
        total, right, predicted = sum(counts), counts[number], sum(row[number] for row in confusion)
        cells = [{"rows": count, "share": count / total if total else 0.0} for count in counts]
        recall, precision = right / total if total else None, right / predicted if predicted else None
        rows.append({"label": label, "cells": cells, "total": total, "recall": recall, "precision": precision})
    return rows


def largest_confusions(confusion: list[list[int]], labels: list[str], n: int) -> list[dict[str, Any]]:
    """Return the n most frequent mistakes: label, predicted label, rows and their share of the label's rows.

    >>> largest_confusions([[8, 2], [0, 5]], ["a", "b"], 3)
    [{'label': 'a', 'predicted': 'b', 'rows': 2, 'share': 0.2}]
    """
    mistakes: list[dict[str, Any]] = [
        {"label": labels[true], "predicted": labels[guess], "rows": rows, "share": rows / sum(counts)}
        for true, counts in enumerate(confusion)
        for guess, rows in enumerate(counts)
        if true != guess and rows
    ]
    return sorted(mistakes, key=lambda pair: -pair["rows"])[:n]
