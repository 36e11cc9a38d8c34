"""Work in a child of the tests' process."""

import os
import traceback
from collections.abc import Callable


def begin_in_child(work: Callable[[], object]) -> int:
    """Begin work in a child and return its process, which ends with the work: after an error it must not go on testing."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child
