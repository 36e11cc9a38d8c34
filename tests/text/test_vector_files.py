"""Files of word vectors are read in all forms that they come in, and a broken line is named."""

import gzip
from pathlib import Path

import pytest

from pipeline.errors.exceptions import ParamsError
from pipeline.text.vector_files import read_vectors, vector_size


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_both_formats_of_vectors_are_read_also_packed(header: bool, packed: bool, tmp_path: Path) -> None:
    content = ("3 2\n" if header else "") + "the 1 2 \nNew York 3 4\nrare 5 6\n"
    path = tmp_path / ("vectors.txt.gz" if packed else "vectors.txt")
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    vectors = read_vectors(path, wanted={"rare"}, n_more=1)
    assert {word: vector.tolist() for word, vector in vectors.items()} == {"the": [1, 2], "rare": [5, 6]}
    assert list(read_vectors(path, wanted=set(), n_more=9)) == ["the", "New York", "rare"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the 1 2\nof 3\n", ":2: must hold a word and 2 numbers, got 1 after the word. Get the file again"),
        ("the 1 2\nof 3 4 5\n", ":2: must hold a word and 2 numbers, got 3"),
        ("the 1 2\n7 3\n", ":2: must hold a word and 2 numbers, got 1"),
        ("the 1 2\n  3\n", ":2: must hold a word and 2 numbers, got 0"),
        ("the 1 2\nof 3 x\n", ":2: could not convert string to float"),
        ("the 1 2\nof 3 nan\n", ":2: must hold finite numbers"),
        ("3 2\nthe 1 2\nof 3 4\n", ":1: says 3 words, got 2"),
    ],
)
def test_a_broken_line_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(ParamsError, match=f"vectors.txt{message}"):
        read_vectors(path, wanted=set(), n_more=9)


@pytest.mark.parametrize(
    "content",
    [
        "the 1 2\n  3 4\nof 5 6\n",
        "the 1 2\n\u3000 3 4\nof 5 6\n",
        "the 1 2\n 3 4\nof 5 6\n",
        "  3 4\nthe 1 2\nof 5 6\n",
        "3 2\nthe 1 2\n\xa0 3 4\nof 5 6\n",
        "\ufeffthe 1 2\nof 5 6\n",
        "\ufeff2 2\nthe 1 2\nof 5 6\n",
        "the\t1\t2\nof\t5\t6\n",
        "the\t1 2\nof\t5 6\n",
        "2\t2\nthe\t1\t2\r\nof\t5\t6\r\n",
        "the  1  2 \nof  5  6 \n",
        "the 1 2\nof 5 6\n\n",
        "2 2\nthe 1 2\n\nof 5 6\n \n",
    ],
)
def test_D9_D10_blank_words_marks_tabs_and_blank_lines_do_not_spoil_a_file_of_vectors(
    content: str, tmp_path: Path
) -> None:
    """A byte order mark, tabs, blank lines and a word that is only white space change no other word's vector."""
    path = tmp_path / "vectors.txt"
    path.write_bytes(content.encode())
    vectors = read_vectors(path, wanted=set(), n_more=9)
    assert {word: vector.tolist() for word, vector in vectors.items()} == {"the": [1, 2], "of": [5, 6]}
    assert vector_size(path) == 2


def test_a_first_word_of_two_does_not_set_the_size(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("New York 1 2\nthe 3 4\nof 5 6\n")
    assert list(read_vectors(path, wanted=set(), n_more=9)) == ["New York", "the", "of"]
    assert vector_size(path) == 2


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(b"the 1 2\n" * 99)[:-9])
    with pytest.raises(ParamsError, match=r"vectors\.txt\.gz: cannot be read: .*Get the file again"):
        read_vectors(path, wanted=set(), n_more=9)
