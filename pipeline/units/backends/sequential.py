"""Everything in this process, one unit after another: nothing to start, and a debugger sees all of it."""

from pipeline.units.backend import MakeCalls

IN_PROCESS = True


def build() -> MakeCalls:
    """Return what makes the calls one by one, each when the result of the one before it was taken."""
    return lambda calls: (call() for call in calls)
