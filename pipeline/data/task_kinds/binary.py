"""Binary: one of two labels; the second one is the positive."""

from pipeline.data.class_targets import ClassTargets

N_LABELS = 2
FORM = "class"


def build() -> ClassTargets:
    """Return the kind of task."""
    return ClassTargets(N_LABELS)
