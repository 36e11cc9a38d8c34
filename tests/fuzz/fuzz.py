"""Coverage-guided fuzzing of what reads other people's bytes: rows, params or a PipelineError may come out, nothing else.

`make fuzz` runs every target for FUZZ_SECONDS; one by hand: `python -m tests.fuzz.fuzz delimited -max_total_time=600`.
"""

import contextlib
import gzip
import importlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pipeline.data.class_targets import ClassTargets
from tests.conftest import PARAMS

ENCODINGS = ("utf-8", "gb18030", "utf-16", "latin-1")
CSV = 'id,text,label\n001,"say ""hi"", 你好",pos\n1e5,NA,neg\n'
ROWS = [{"id": 9007199254740993, "text": "a\ud800b", "label": None}, {"id": "2", "text": "x", "label": True}]
WANTED = ["id", "text", "label"]


def delimited(content: bytes) -> None:
    """Read csv or tsv; the first byte says how."""
    how, rest = content[:1] or b"\0", content[1:]
    options = {"header": bool(how[0] & 2), "quoting": bool(how[0] & 4), "encoding": ENCODINGS[how[0] >> 3 & 3]}
    options |= {"escape": (None, "\\")[how[0] >> 5 & 1], "encoding_errors": ("fail", "drop_row")[how[0] >> 6 & 1]}
    _read(rest, "a.tsv" if how[0] & 1 else "a.csv", **options)


def records(content: bytes) -> None:
    """Read an array of objects, or one object per line; the first byte says which."""
    _read(content[1:], "a.json" if content[:1] == b"\1" else "a.jsonl")


def parquet(content: bytes) -> None:
    """Read parquet."""
    _read(content, "a.parquet")


def archives(content: bytes) -> None:
    """Read a zip file, or a gzip file; the first byte says which."""
    _read(content[1:], "a.csv.gz" if content[:1] == b"\1" else "a.zip", format="csv")


def params(content: bytes) -> None:
    """Load params.yaml, in a folder without the competition's files."""
    from pipeline.errors.exceptions import ParamsError
    from pipeline.params.loading import load_params

    path = folder() / "params.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ParamsError):
        load_params(path)


def submission(content: bytes) -> None:
    """Check a submission that says what was predicted, or not."""
    import numpy as np

    from pipeline.errors.exceptions import DataError
    from pipeline.submit.formats import kaggle_csv, tianchi_json
    from pipeline.submit.submitting import submission_frame

    form = (tianchi_json if content[:1] == b"\1" else kaggle_csv).build()
    path = folder() / "submission"
    path.write_bytes(content[1:])
    frame = submission_frame(["1", "2"], np.array([[0.9, 0.1], [0.2, 0.8]]), ["no", "yes"], kind=ClassTargets())
    with contextlib.suppress(DataError):
        form.check(path, {"main": frame}, {})


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (delimited, records, parquet, archives, params, submission)
}


def seeds() -> dict[str, list[bytes]]:
    """Return for each target a few inputs to start from, most of them right."""
    import pandas as pd

    tsv = CSV.replace(",", "\t").encode()
    table, archive = io.BytesIO(), io.BytesIO()
    pd.DataFrame({"id": [1, 2], "text": ["a", None], "label": pd.Categorical(["x", "y"])}).to_parquet(table)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner/train.csv", CSV)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    return {
        "delimited": [
            b"\6" + CSV.encode(),
            b"\3" + tsv,
            b"\x0e" + CSV.encode("gb18030"),
            b"\x16" + CSV.encode("utf-16"),
        ],
        "records": [b"\0" + lines, b"\1" + json.dumps(ROWS).encode()],
        "parquet": [table.getvalue()],
        "archives": [b"\0" + archive.getvalue(), b"\1" + gzip.compress(CSV.encode(), mtime=0)],
        "params": [
            PARAMS.encode(),
            b"a: &a [1]\nb: *a\nc: {<<: {d: 2001-01-01}}\n",
            b"training: [1]\nencoders: {1: 2}\n",
        ],
        "submission": [b"\0id,label\n1,no\n2,yes\n", b"\1" + archive.getvalue()],
    }


@cache
def folder() -> Path:
    """Return a folder for the inputs of this process."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _read(content: bytes, name: str, **options: object) -> None:
    from pipeline.data.reading import LINE, read_columns
    from pipeline.errors.exceptions import PipelineError
    from pipeline.params.tasks import FileForm

    path = folder() / name
    path.write_bytes(content)
    wanted = WANTED if options.get("header", True) else [0, 1, 2]
    with contextlib.suppress(PipelineError):
        rows = read_columns(path, wanted, FileForm.model_validate(options), optional=wanted[2:])
        assert rows[LINE].is_monotonic_increasing
        assert all(isinstance(text, str) for text in rows[wanted[1]])


def main() -> None:
    """Fuzz the target of the first argument; libFuzzer takes the others."""
    import atheris

    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["pipeline", "json", "zipfile", "gzip", "ruamel"]):
        for module in ("params.loading", "data.reading", "submit.formats.kaggle_csv", "submit.formats.tianchi_json"):
            importlib.import_module(f"pipeline.{module}")
    corpus = folder() / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds()[name]):
        (corpus / str(number)).write_bytes(content)
    os.chdir(folder())
    atheris.Setup([*sys.argv, "-timeout=30", "-rss_limit_mb=4096", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
