"""No sharing: every task has models of its own, which never meet."""

ENCODERS = "apart"


def build() -> None:
    """Return nothing: there is no model of several tasks."""
