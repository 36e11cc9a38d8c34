"""Multiclass: one of two or more labels."""

from pipeline.data.class_targets import ClassTargets

FORM = "class"


def build() -> ClassTargets:
    """Return the kind of task."""
    return ClassTargets()
