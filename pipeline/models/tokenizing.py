"""Texts to whole rows of tokens: by the tokenizer alone, or field by field where texts were rendered from a template."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.errors.exceptions import ParamsError
from pipeline.text.templates import FIELD, SEPARATOR, n_fields, pieces_of

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerFast

TOKENIZE_ROWS = 1000
# Special tokens written out in a text, such as "[SEP]", are split like any other characters.
TOKENIZE = {
    "return_token_type_ids": True, "return_special_tokens_mask": True, "split_special_tokens": True, "verbose": False,
}  # fmt: skip
CONTENTS = ("\ue000", "\ue001")  # stand for the texts while a chat template is applied
_Token = tuple[int, int, int, int, int, int]  # id, type, sequence, field, where it begins and ends in its text


class Tokens(NamedTuple):
    """A row of tokens: `sequences` says of which text each one is, 0 or 1, or -1 for the tokenizer's own special tokens.

    `fields` numbers what is cut together, the fields of the second text after those of the first; -1 is never cut. `spans`
    are None where the tokenizer gives no offsets.
    """

    ids: np.ndarray
    types: np.ndarray
    sequences: np.ndarray
    fields: np.ndarray
    spans: np.ndarray | None

    def take(self, places: np.ndarray) -> "Tokens":
        """Return the row of the tokens at some places."""
        return Tokens(*(None if part is None else part[places] for part in self))  # type: ignore[arg-type]


def tokenize(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], text_pairs: Sequence[str] | None, *, chat: bool = False
) -> Iterator[Tokens]:
    """Yield each row whole. With `chat` the tokenizer's chat template stands in the place of its special tokens.

    Raises:
        ParamsError: if it has no chat template that shows what it is given once.
    """
    chat_frame = _chat_frame(tokenizer, text_pairs is not None) if chat else None
    for start in range(0, len(texts), TOKENIZE_ROWS):
        chunk = slice(start, start + TOKENIZE_ROWS)
        rows = [list(texts[chunk])] if text_pairs is None else [list(texts[chunk]), list(text_pairs[chunk])]
        if chat_frame is None and not any(FIELD in text for text in chain(*rows)):
            yield from _plain_rows(tokenizer, rows)
        else:
            yield from _rows_in_pieces(tokenizer, rows, chat_frame or _own_frame(tokenizer, text_pairs is not None))


def _plain_rows(tokenizer: "PreTrainedTokenizerFast", rows: list[list[str]]) -> Iterator[Tokens]:
    batch = tokenizer(*rows, return_offsets_mapping=tokenizer.is_fast, **TOKENIZE)
    for row, texts in enumerate(zip(*rows, strict=True)):
        ids = np.array(batch["input_ids"][row], dtype=np.int32)
        types = np.array(batch["token_type_ids"][row], dtype=np.int8)
        sequences, spans = _sequences(tokenizer, batch, row, texts[0]), None
        if len(ids) == 0:  # an empty text, and a tokenizer that adds nothing of its own
            ids = np.array([tokenizer.pad_token_id or 0], dtype=np.int32)
            types, sequences = np.zeros(1, np.int8), np.full(1, -1, np.int8)
        if tokenizer.is_fast:
            offsets = np.array(batch["offset_mapping"][row] or [(0, 0)], dtype=np.int32)
            spans = row_spans(offsets, sequences, len(texts[0]), len("".join(texts[1:])))
        yield Tokens(ids, types, sequences, sequences, spans)


def _sequences(tokenizer: "PreTrainedTokenizerFast", batch: "BatchEncoding", row: int, text: str) -> np.ndarray:
    """Return for each token 0 or 1, the text it comes from, or -1 for a special token."""
    if tokenizer.is_fast:
        return np.array([-1 if sequence is None else sequence for sequence in batch.sequence_ids(row)], dtype=np.int8)
    body = np.array(batch["special_tokens_mask"][row], dtype=np.int8) == 0
    n_first = len(tokenizer.tokenize(text, split_special_tokens=True))
    return np.where(body, np.cumsum(body) > n_first, -1).astype(np.int8)


def row_spans(offsets: np.ndarray, sequences: np.ndarray, n_first: int, n_second: int) -> np.ndarray:
    """Return offsets (tokens, 2) within each text as spans on the row's axis (see `batching.Encoded`).

    >>> row_spans(np.array([[0, 0], [0, 2], [0, 0], [0, 1], [0, 0]]), np.array([-1, 0, -1, 1, -1]), 2, 1).tolist()
    [[0, 1], [1, 3], [3, 4], [4, 5], [5, 6]]
    """
    spans = offsets + 1 + (sequences == 1)[:, None] * (1 + n_first)
    # A special token stands before the first text, after the first or after the second.
    places = np.array([0, 1 + n_first, 2 + n_first + n_second])[np.maximum.accumulate(sequences) + 1]
    return np.where((sequences == -1)[:, None], places[:, None] + [0, 1], spans).astype(np.int32)


class _Frame(NamedTuple):
    """What stands around texts: special tokens before the first, after it and after the second; the texts' types."""

    special: list[list[_Token]]
    types: list[int]


def _special(ids: Sequence[int], types: Sequence[int]) -> list[_Token]:
    return [(token, kind, -1, -1, 0, 0) for token, kind in zip(ids, types, strict=True)]


def _own_frame(tokenizer: "PreTrainedTokenizerFast", paired: bool) -> _Frame:
    """Return the special tokens that a tokenizer puts around texts, and the types that it gives them."""
    batch = tokenizer(*[["a"]] * (1 + paired), **TOKENIZE)
    sequences = _sequences(tokenizer, batch, 0, "a")
    ids, types = batch["input_ids"][0], batch["token_type_ids"][0]
    bodies = [np.flatnonzero(sequences == number) for number in range(1 + paired)]
    begins, ends = [0, *(body[-1] + 1 for body in bodies)], [*(body[0] for body in bodies), len(sequences)]
    special = [_special(ids[begin:end], types[begin:end]) for begin, end in zip(begins, ends, strict=True)]
    return _Frame(special, [types[body[0]] for body in bodies])


def _chat_frame(tokenizer: "PreTrainedTokenizerFast", paired: bool) -> _Frame:
    """Return the tokens of the chat template before and after what a user says, which is the texts, line by line."""
    contents, parts = CONTENTS[: 1 + paired], [""]
    if getattr(tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": "\n".join(contents)}]
        said = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        parts = re.split("|".join(contents), str(said))
    if len(parts) != 1 + len(contents):
        raise ParamsError(
            f"chat_template: the tokenizer {type(tokenizer).__name__} must have a chat template that repeats what a user "
            f"says once, got {'none' if parts == [''] else 'another one'}. Remove chat_template, or take another encoder."
        )
    ids = [list(tokenizer(part, add_special_tokens=False)["input_ids"]) if part else [] for part in parts]
    return _Frame([_special(of_part, [0] * len(of_part)) for of_part in ids], [0] * len(contents))


def _rows_in_pieces(tokenizer: "PreTrainedTokenizerFast", rows: list[list[str]], frame: _Frame) -> Iterator[Tokens]:
    """Yield rows whose fields, and what stands between them, are tokenized each by itself, with a frame around the texts."""
    pieces = [[list(pieces_of(text)) for text in texts] for texts in rows]
    tokens_of = _tokens_of(tokenizer, {piece for texts in pieces for text in texts for _, piece, _ in text})
    for row, texts in enumerate(zip(*rows, strict=True)):
        tokens = [*frame.special[0]]
        for number in range(len(texts)):
            n_before = n_fields(texts[0]) if number else 0
            for start, piece, field in pieces[number][row]:
                of_piece = (frame.types[number], number, -1 if field < 0 else n_before + field)
                tokens += [(token, *of_piece, start + begin, start + end) for token, (begin, end) in tokens_of[piece]]
            tokens += frame.special[number + 1]
        table = np.array(tokens or _special([tokenizer.pad_token_id or 0], [0]), dtype=np.int32)
        ids, types, sequences, fields = (table[:, column] for column in range(4))
        spans = (
            row_spans(table[:, 4:], sequences, len(texts[0]), len("".join(texts[1:]))) if tokenizer.is_fast else None
        )
        yield Tokens(ids, types.astype(np.int8), sequences.astype(np.int8), fields, spans)


def _tokens_of(tokenizer: "PreTrainedTokenizerFast", pieces: set[str]) -> dict[str, list[tuple[int, tuple[int, int]]]]:
    """Return the ids of each piece, and where they stand in it; a separator is the tokenizer's, else its end token."""
    texts = sorted(pieces - {SEPARATOR, ""})
    options = {**TOKENIZE, "add_special_tokens": False, "return_offsets_mapping": tokenizer.is_fast}
    batch: Any = tokenizer(texts, **options) if texts else {"input_ids": []}
    ids = batch["input_ids"]
    offsets = batch.get("offset_mapping") or [[(0, 0)] * len(of_text) for of_text in ids]
    of_texts = zip(texts, ids, offsets, strict=True)
    tokens = {text: list(zip(of_text, places, strict=True)) for text, of_text, places in of_texts}
    separators = (getattr(tokenizer, name, None) for name in ("sep_token_id", "eos_token_id"))
    separator = next((token for token in separators if token is not None), None)
    return {**tokens, SEPARATOR: [] if separator is None else [(separator, (0, 1))], "": []}
