"""How every stage and command runs: errors become one block and an exit code, and a stage reads only what it declares."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.artifacts.paths import LAST_ERROR
from pipeline.errors.error_block import show
from pipeline.errors.exceptions import MachineError, as_pipeline_error
from pipeline.errors.redacting import start_logging
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.recipes.declared_inputs import declared_inputs, watched
from pipeline.recipes.stage_inputs import steady_inputs
from pipeline.units.budget import LAST_STAGES, own_seconds
from pipeline.units.stage import LastRun, Stage
from pipeline.units.stop_signals import refuse_orphan, watch_dvc


@contextmanager
def stage_run() -> Iterator[Params]:
    """Do the work of a stage: give it the params, and refuse at its end what it read beyond what dvc.yaml declares.

    What it read must be as it was when the stage began: DVC records it only afterwards.
    """
    with exit_on_error():
        refuse_orphan()
        with declared_inputs(), steady_inputs():
            yield watched(load_params())
        if (stage := os.environ.get("DVC_STAGE", "")) in LAST_STAGES:
            LastRun(Stage(stage), computed=1, reused=0, seconds=own_seconds()).write()


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn an error into one block on stderr, `out/last_error.json` and the error's exit code."""
    start_logging()
    try:
        watch_dvc()
        if sys.flags.optimize > 1:
            raise MachineError(
                "python: must run with docstrings, which transformers reads, got -OO. Unset PYTHONOPTIMIZE, or set it to 1."
            )
        yield
        if "DVC_STAGE" in os.environ:  # a command that looks at what happened must not wipe it out
            LAST_ERROR.unlink(missing_ok=True)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            sys.exit(128 + signal.SIGPIPE)  # as of any program whose reader, such as `head`, has enough
        known = as_pipeline_error(error)
        show(known, LAST_ERROR)
        sys.exit(known.exit_code)


def _output_is_closed() -> bool:
    """Return whether nobody reads what this process says any more; then let it say the rest to nobody."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # no file
            poll = select.poll()
            poll.register(stream.fileno(), 0)  # asked for or not, an error of the other end is told
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                return True
    return False
