"""Data frames as parquet files, with JSON in their metadata."""

import io
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.files import verify, write_bytes

# By default arrow keeps what it freed: 100 MB after it read and compared 100,000 texts.
with suppress(NotImplementedError):  # where its wheels come without jemalloc
    pa.jemalloc_set_decay_ms(0)
    pa.set_memory_pool(pa.jemalloc_memory_pool())

GROUP_ROWS = 1 << 14


def write_frame(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> None:
    """Write a frame as parquet, with JSON in the file's metadata."""
    write_frames(path, [frame], pa.Schema.from_pandas(frame, preserve_index=False), metadata)


def write_frames(path: Path, frames: Iterable[pd.DataFrame], schema: pa.Schema, metadata: dict[str, Any]) -> None:
    """Write frames, one after another, as one parquet file, with JSON in the file's metadata.

    How the rows came in frames changes no byte.
    """
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    schema = schema.with_metadata({**(schema.metadata or {}), b"stitchfold": text.encode()})
    buffer = io.BytesIO()
    waiting = schema.empty_table()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for frame in frames:
            waiting = pa.concat_tables([waiting, pa.Table.from_pandas(frame, schema, preserve_index=False)])
            while len(waiting) > GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(GROUP_ROWS)
        writer.write_table(waiting.combine_chunks())
    write_bytes(path, buffer.getvalue())


def read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Return a frame, its metadata and the file's digest, after checking the digest."""
    digest = verify(path)
    table = pq.read_table(path)
    metadata = json.loads((table.schema.metadata or {}).get(b"stitchfold", b"{}"))
    return table.to_pandas(), metadata, digest
