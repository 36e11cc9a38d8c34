"""What fuzzing once broke stays mended, and the seeds from which it starts are read."""

from base64 import b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz import TARGETS, seeds

SEEDS = [(name, content) for name, contents in seeds().items() for content in contents]
CRASHES = {
    "a zip file without an end": ("archives", b""),
    "a zip member without a name": (
        "archives",
        b64decode(
            "AFBLAwQUAAAACHXyUtO5AFBLAQIUAxQAAAAI07kAUEsBAhQDFAAAAAgA65t1XZY6Z+c4AAAANgAAAA8AAAAAAAAAAAAAAIABAAAAAHZQSwUGAAAA"
            "AAEAAQA9AAAAZQAAAAAA"
        ),
    ),
    "a zip whose directory points before its start": (
        "submission",
        b64decode(
            "AVBLAGlkLGxhZWwKMSxubwoyLHllcwo2AAAADwAASa0o0clJTErN4TIwMNRRKk6sVMBSyshUUiNReLJ3wdOle5V0CvKLuQxTTXX8HHXyUtO5AFBL"
            "AQIUAxQAAAAIAKabdV2WGmfnOAAAADYAAAAPAAAAAAAAAAAAAACAAQAAAABpbm5lci90cmFpbi5jc3ZQSwUGAAAAAAEAAQA9AAAAZQAAAAAA"
        ),
    ),
    "a section that is a list": ("params", b"training: [1]\n"),
    "brackets without end": ("records", b"\1" + b"[" * 100_000),
    "a number of 5000 digits": ("submission", b"\1" + b'{"id": ' + b"1" * 5000 + b"}\n"),
    "parquet with a damaged footer": (
        "parquet",
        dict(SEEDS)["parquet"][:-300] + b"\xff" * 292 + dict(SEEDS)["parquet"][-8:],
    ),
}


@pytest.mark.parametrize(("name", "content"), SEEDS)
def test_the_seeds_are_read_or_refused(name: str, content: bytes) -> None:
    TARGETS[name](content)


@pytest.mark.parametrize("case", CRASHES)
def test_what_fuzzing_broke_is_refused(case: str) -> None:
    name, content = CRASHES[case]
    TARGETS[name](content)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_seeds_with_a_few_changed_bytes_are_read_or_refused(
    seed: tuple[str, bytes], changes: list[tuple[float, int]]
) -> None:
    name, content = seed
    changed = bytearray(content)
    for share, byte in changes:
        changed[int(share * len(content))] = byte
    TARGETS[name](bytes(changed))
