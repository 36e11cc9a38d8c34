"""How every stage and command runs: errors become one block and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.exceptions import LAST_ERROR, as_pipeline_error, show
from pipeline.redacting import start_logging
from pipeline.stopping import watch_parent


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
