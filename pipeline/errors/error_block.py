"""The one block in which a stage or a command shows an error, and the same as `out/last_error.json`."""

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import CODES, ParamsError, PipelineError


def show(error: PipelineError, path: Path) -> None:
    """Print an error's block on stderr and write it as JSON to a path."""
    fields = describe(error, stage=os.environ.get("DVC_STAGE", Path(sys.argv[0]).stem))
    print(f"\n{block(fields)}", file=sys.stderr, flush=True)
    with suppress(OSError):  # the disk may be what failed
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
        path.write_text(text, encoding="utf-8", errors="replace")


def describe(error: PipelineError, *, stage: str) -> dict[str, Any]:
    """Return an error as the JSON of `out/last_error.json`."""
    title, why = CODES[error.code]
    lines = str(error).splitlines() if isinstance(error, ParamsError) else [str(error)]
    return {
        "code": error.code,
        "title": title,
        "stage": stage,
        "error": type(error).__name__,
        "exit_code": error.exit_code,
        "problems": [split_message(line) for line in lines],
        "why": why,
        "kept": error.kept,
        "message": str(error),
    }


def split_message(message: str) -> dict[str, str]:
    """Split *where: what must hold, got what. What to do.* into its parts.

    >>> split_message("a.csv:3: ids must be unique, got 'x'. Remove the copies.")
    {'where': 'a.csv:3', 'what': "ids must be unique, got 'x'.", 'mend': 'Remove the copies.'}
    """
    where, colon, rest = message.partition(": ")
    if not colon:
        where, rest = "", message
    what, *mend = re.split(r"(?<=[.?…])\s+(?=[A-Z])", rest, maxsplit=1)
    return {"where": where, "what": what, "mend": mend[0] if mend else "Mend it and run dvc repro again."}


def block(fields: dict[str, Any]) -> str:
    """Return the text of an error as `describe` gives it: the same shape everywhere."""
    lines = [f"{fields['code']} {fields['title']}  ({fields['stage']}, exit code {fields['exit_code']})"]
    for problem in fields["problems"]:
        lines += [f"  {name:<6} {text}" for name, text in problem.items() if text]
    return "\n".join([*lines, f"  {'why':<6} {fields['why']}", f"  {'kept':<6} {fields['kept']}"])
