"""How every stage and command runs: errors become one block and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors.error_block import LAST_ERROR, show
from pipeline.errors.exceptions import as_pipeline_error
from pipeline.errors.redacting import start_logging
from pipeline.units.stop_signals import watch_parent


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn an error into one block on stderr, `out/last_error.json` and the error's exit code."""
    start_logging()
    watch_parent()
    try:
        yield
        if "DVC_STAGE" in os.environ:  # a command that looks at what happened must not wipe it out
            LAST_ERROR.unlink(missing_ok=True)
    except Exception as error:
        known = as_pipeline_error(error)
        show(known)
        sys.exit(known.exit_code)
