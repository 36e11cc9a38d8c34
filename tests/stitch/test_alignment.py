from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertweetTokenizer, ByT5Tokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from pipeline.models.batching import Encoded, encode
from pipeline.stitch.alignment import Alignment, align, batch_index, gather_states, word_spans
from pipeline.text.templates import FIELD, SEPARATOR
from tests.small import TEXTS, encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"
HAN = "今天气很好"
PIECES = ["un", "believ", "able", "the", "th", "ing", "cat"]
WORDS = ["the", "cat", "unbelievable", "天气", "!"]
# Emoji with joiners and skin tones, combining accents, full width, ligatures, capitals that lower to two characters.
ODD = [
    "👩‍👩‍👧",
    "😀",
    "👍🏽",
    "é",
    "e\u0301",
    "ｆｕｌｌ",
    "ﬁne",
    "İ",
    "ß",
    "Ⅷ",
    "\u0301",
    "[SEP]",
    "</s>",
    "\u200b",
    "\x00",
]
CLEAN = st.characters(
    exclude_categories=["Cs"], exclude_characters=[FIELD, SEPARATOR]
)  # `clean` leaves no mark of a template in a text
BLANKS = [" ", "  ", "\n", "\t", "\u3000", "\u00a0", ""]
TEXT = st.lists(
    st.sampled_from([*WORDS, "Unbelievable", "cats", *HAN, *ODD, *BLANKS]) | st.text(CLEAN, max_size=4), max_size=9
)
ROWS = st.lists(st.tuples(TEXT.map("".join), TEXT.map("".join)), min_size=1, max_size=4)
PLAIN = TEXT.map(lambda pieces: "".join(pieces).replace("</s>", "")).filter(len)
TRUNCATIONS = st.sampled_from(["head", "tail", "head_tail"])
FAMILIES = ["bpe", "byte_bpe", "wordpiece", "roberta", "metaspace", "words", "characters"]
MODES = ["mean", "max", "first"]


def numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def wordpiece() -> Tokenizer:
    tokens = [*PIECES, *LETTERS, *HAN, "!"]
    vocabulary = numbered(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *tokens, *(f"##{token}" for token in tokens)])
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def roberta() -> Tokenizer:
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("c", "a"), ("ca", "t"), ("Ġ", "cat"), ("u", "n"), ("Ġ", "u")]
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(merge) for merge in merges]
    vocabulary = numbered(["<s>", "<pad>", "</s>", "<unk>", *tokens])
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return tokenizer


def metaspace() -> Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(piece, -3.0 / len(piece)) for piece in ["▁the", "▁cat", "▁un", *PIECES, *HAN, "天气"]]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in LETTERS)], unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(numbered(["[PAD]", "[UNK]", *WORDS]), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def characters() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(numbered(["[PAD]", "[UNK]", *LETTERS, *HAN]), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFD()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return tokenizer


@cache
def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    if family in ("bpe", "byte_bpe"):
        return encoder(tokenizer=family).source.build(texts=TEXTS, max_length=16, seed=0).tokenizer
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    if family == "wordpiece":
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    if family in ("roberta", "metaspace"):
        names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    if family == "roberta":
        names["cls_token"] = "<s>"
    return PreTrainedTokenizerFast(tokenizer_object=globals()[family](), **names)


def encoded_by(family: str, rows: list[tuple[str, str]], paired: bool, max_length: int, truncation: str) -> Encoded:
    firsts, seconds = ([row[side] for row in rows] for side in (0, 1))
    return encode(
        tokenizer_of(family), firsts, seconds if paired else None, max_length=max_length, truncation=truncation
    )


@dataclass(frozen=True)
class Row:
    """A row's characters on the axis of its spans, and where special tokens stand there."""

    axis: str
    special: list[list[int]]

    @classmethod
    def of(cls, texts: list[str]) -> "Row":
        starts = np.cumsum([0, *(1 + len(text) for text in texts)]).tolist()
        return cls("".join(f"#{text}" for text in texts) + "#", [[start, start + 1] for start in starts])


@st.composite
def corpora(draw: Any) -> tuple[list[Row], tuple[Encoded, Encoded]]:
    """Rows, and how two families encode them."""
    texts, paired, families = draw(ROWS), draw(st.booleans()), st.sampled_from(FAMILIES)
    max_length, truncation = draw(st.integers(5, 40)), draw(TRUNCATIONS)
    frame, other = (encoded_by(draw(families), texts, paired, max_length, truncation) for _ in range(2))
    return [Row.of(list(both) if paired else [both[0]]) for both in texts], (frame, other)


def spans_of(encoded: Encoded, row: int) -> list[list[int]]:
    return encoded.spans[encoded.starts[row] : encoded.starts[row + 1]].tolist()


def of_spans(*rows: list[tuple[int, int]]) -> Encoded:
    """Rows of which only the spans matter."""
    lengths = [len(row) for row in rows]
    spans = np.array([span for row in rows for span in row], np.int32).reshape(-1, 2)
    ids = np.zeros(sum(lengths), np.int32)
    return Encoded(ids, ids, np.cumsum([0, *lengths]), 0, 0, spans)


SPAN_ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 4)).map(lambda drawn: (drawn[0], sum(drawn))), max_size=7
)


def slow_pairs(frame: Encoded, other: Encoded, row: int) -> list[dict[int, int]]:
    """Return for each token of a row the overlap with each of the other's, by comparing all with all."""
    mine, theirs = spans_of(frame, row), spans_of(other, row)
    if mine == theirs:
        return [{token: 1} for token in range(len(mine))]
    overlaps = [[min(a[1], b[1]) - max(a[0], b[0]) for b in theirs] for a in mine]
    return [{token: overlap for token, overlap in enumerate(of_token) if overlap > 0} for of_token in overlaps]


def pairs_of(alignment: Alignment, frame: Encoded, row: int) -> list[dict[int, float]]:
    tokens = range(frame.starts[row], frame.starts[row + 1])
    slices = [slice(alignment.indptr[token], alignment.indptr[token + 1]) for token in tokens]
    return [
        dict(zip(alignment.source[received].tolist(), alignment.weight[received].tolist(), strict=True))
        for received in slices
    ]


def states_of(encoded: Encoded, hidden_size: int = 3) -> torch.Tensor:
    """Return random states of all tokens, one after another."""
    return torch.randn(len(encoded.input_ids), hidden_size, generator=torch.Generator().manual_seed(0))


def padded(encoded: Encoded, states: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    parts = [states[encoded.starts[row] : encoded.starts[row + 1]] for row in rows]
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=torch.nan)


def on_frame(frame: Encoded, other: Encoded, states: torch.Tensor, rows: np.ndarray, mode: str) -> torch.Tensor:
    """Return the other's states on the frame's tokens of some rows, by way of a padded batch."""
    batch = padded(other, states, rows)
    shape = len(rows), int(frame.lengths[rows].max())
    index = batch_index(align(frame, other), frame.starts, rows, frame_length=shape[1], other_length=batch.shape[1])
    return gather_states(batch, **index, shape=shape, mode=mode)


def slow_states(frame: Encoded, other: Encoded, states: torch.Tensor, row: int, mode: str) -> torch.Tensor:
    of_row, result = states[other.starts[row] :], torch.zeros(int(frame.lengths[row]), states.shape[1])
    for token, shares in enumerate(slow_pairs(frame, other, row)):
        if shares and mode == "max":
            result[token] = torch.stack([of_row[source] for source in shares]).amax(dim=0)
        elif shares and mode == "first":
            result[token] = of_row[min(shares)]
        elif shares:
            result[token] = sum(of_row[source] * share for source, share in shares.items()) / sum(shares.values())
    return result


def test_the_worked_example_has_the_weights_worked_by_hand() -> None:
    frame = of_spans([(0, 2), (2, 12)])  # un|believable
    other = of_spans([(0, 4), (4, 8), (8, 12)])  # unbe|liev|able
    there, back = align(frame, other), align(other, frame)
    assert (there.indptr.tolist(), there.source.tolist()) == ([0, 1, 4], [0, 0, 1, 2])
    assert there.weight.tolist() == pytest.approx([2 / 2, 2 / 10, 4 / 10, 4 / 10])
    assert (back.indptr.tolist(), back.source.tolist()) == ([0, 2, 3, 4], [0, 1, 1, 1])
    assert back.weight.tolist() == pytest.approx([2 / 4, 2 / 4, 4 / 4, 4 / 4])


def test_tokens_of_one_emoji_stay_apart_where_both_cut_alike_and_blur_where_not() -> None:
    emoji = [(0, 1), (1, 2), (1, 2), (1, 2)]
    alignment = align(of_spans(emoji, emoji), of_spans(emoji, [*emoji, (2, 3)]))
    assert np.split(alignment.source, alignment.indptr[1:-1])[1:4] == [[1], [2], [3]]
    assert [sources.tolist() for sources in np.split(alignment.source, alignment.indptr[1:-1])[5:]] == [[1, 2, 3]] * 3


@given(rows=st.lists(st.tuples(SPAN_ROWS, SPAN_ROWS, st.booleans()), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_H2_any_spans_unsorted_overlapping_or_empty_match_a_slow_reference(rows) -> None:
    """Tokens of two tokenizers are matched as a slow reference matches them, whatever their spans."""
    frame = of_spans(*(mine for mine, _, _ in rows))
    other = of_spans(*(mine if same else theirs for mine, theirs, same in rows))
    alignment = align(frame, other)
    for row in range(len(rows)):
        expected = slow_pairs(frame, other, row)
        received = pairs_of(alignment, frame, row)
        assert [list(shares) for shares in received] == [sorted(shares) for shares in expected]
        for shares, weights in zip(expected, received, strict=True):
            total = sum(shares.values())
            assert weights == pytest.approx({token: share / total for token, share in shares.items()})
            assert sum(weights.values()) == pytest.approx(1 if shares else 0)


@given(corpus=corpora())
@settings(max_examples=80, deadline=None)
def test_H2_each_visible_character_that_both_kept_is_covered(corpus) -> None:
    """Every visible character that both tokenizers kept is covered after alignment."""
    rows, (frame, other) = corpus
    alignment = align(frame, other)
    for number, row in enumerate(rows):
        theirs = spans_of(other, number)
        kept = {position for span in theirs for position in range(*span) if not row.axis[position].isspace()}
        for span, sources in zip(spans_of(frame, number), pairs_of(alignment, frame, number), strict=True):
            assert kept.intersection(range(*span)) <= {
                position for source in sources for position in range(*theirs[source])
            }


@given(corpus=corpora())
@settings(max_examples=80, deadline=None)
def test_D14_special_tokens_meet_special_tokens_of_the_same_place_only(corpus) -> None:
    """Special tokens are matched with special tokens of the same place only."""
    rows, (frame, other) = corpus
    alignment = align(frame, other)
    for number, row in enumerate(rows):
        theirs = spans_of(other, number)
        for span, sources in zip(spans_of(frame, number), pairs_of(alignment, frame, number), strict=True):
            met = [theirs[source] for source in sources]
            if span in row.special:
                assert bool(met) == (span in theirs) and all(reached == span for reached in met)
            else:
                assert not any(reached in row.special for reached in met)


def test_separators_of_a_pair_meet_whatever_their_number() -> None:
    rows = [("the cat", "un")]
    frame, other = (encoded_by(family, rows, True, 40, "head") for family in ("wordpiece", "roberta"))
    ids = frame.input_ids.tolist()
    there = pairs_of(align(frame, other), frame, 0)
    double = [position for position, token in enumerate(other.input_ids.tolist()) if token == 2]
    assert there[ids.index(2)] == {0: 1.0}
    assert there[ids.index(3)] == {double[0]: 0.5, double[1]: 0.5}
    assert there[-1] == {double[2]: 1.0}


@pytest.mark.parametrize("family", FAMILIES)
@given(
    rows=ROWS, paired=st.booleans(), truncation=TRUNCATIONS, max_length=st.integers(5, 40), mode=st.sampled_from(MODES)
)
@settings(max_examples=15, deadline=None)
def test_a_tokenizer_beside_itself_keeps_its_states_bit_for_bit(
    family, rows, paired, truncation, max_length, mode
) -> None:
    encoded = encoded_by(family, rows, paired, max_length, truncation)
    states, order = states_of(encoded), np.arange(len(rows))
    expected = padded(encoded, states, order).nan_to_num(0)
    assert torch.equal(on_frame(encoded, encoded, states, order, mode), expected)


@given(corpus=corpora(), mode=st.sampled_from(MODES), random=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rows_give_the_same_states_in_any_batch_and_match_a_slow_reference(corpus, mode, random) -> None:
    drawn, (frame, other) = corpus
    rows = np.array(random.choices(range(len(drawn)), k=len(drawn) + 1))
    states = states_of(other)
    batch = on_frame(frame, other, states, rows, mode)
    for position, row in enumerate(rows):
        alone = on_frame(frame, other, states, np.array([row]), mode)[0]
        length = frame.lengths[row]
        assert torch.equal(batch[position, :length], alone) and not batch[position, length:].any()
        torch.testing.assert_close(alone, slow_states(frame, other, states, row, mode))


@pytest.mark.parametrize("mode", MODES)
def test_states_carry_gradients(mode: str) -> None:
    frame, other = of_spans([(0, 2), (2, 12), (20, 21)]), of_spans([(0, 4), (4, 8), (8, 12)])
    index = batch_index(align(frame, other), frame.starts, np.array([0]), frame_length=4, other_length=3)
    states = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: gather_states(values, **index, shape=(1, 4), mode=mode), states)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(mode: str, dtype: torch.dtype) -> None:
    frame, other = of_spans([(0, 2), (2, 12)]), of_spans([(0, 4), (4, 8), (8, 12)])
    index = batch_index(align(frame, other), frame.starts, np.array([0]), frame_length=2, other_length=3)
    states = states_of(other).to(dtype)[None]
    gathered = gather_states(states, **index, shape=(1, 2), mode=mode)
    assert gathered.dtype == torch.float32
    assert torch.equal(gathered, gather_states(states.float(), **index, shape=(1, 2), mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_tokens_that_receive_nothing_are_zero(mode: str) -> None:
    frame, other = of_spans([(0, 1), (1, 3)]), of_spans([(5, 9)])
    assert not on_frame(frame, other, torch.ones(1, 3), np.array([0]), mode).any()


def test_the_largest_of_negative_states_is_negative() -> None:
    frame, other = of_spans([(0, 4)]), of_spans([(0, 2), (2, 4)])
    assert on_frame(frame, other, torch.tensor([[-3.0], [-2.0]]), np.array([0]), "max").item() == -2


def test_sides_without_spans_or_of_other_rows_are_refused() -> None:
    frame, other = of_spans([(0, 1)]), of_spans([(0, 1)], [(0, 1)])
    with pytest.raises(ValueError, match="must have the same rows, got 1 and 2"):
        align(frame, other)
    with pytest.raises(ValueError, match="must have spans, got None"):
        align(frame, Encoded(frame.input_ids, frame.token_type_ids, frame.starts, 0, 0, None))


@pytest.mark.parametrize(("frame_length", "other_length"), [(1, 3), (2, 2)])
def test_too_narrow_batches_are_refused(frame_length: int, other_length: int) -> None:
    frame, other = of_spans([(0, 2), (2, 12)]), of_spans([(0, 4), (4, 8), (8, 12)])
    with pytest.raises(ValueError, match=f"2 and 3 tokens, got frame_length {frame_length} and other_length"):
        batch_index(
            align(frame, other), frame.starts, np.array([0]), frame_length=frame_length, other_length=other_length
        )


class AcrossBlanks(PreTrainedTokenizer):
    """A tokenizer that knows no words: every three characters, blanks or not, are a token."""

    def __init__(self, **names: Any) -> None:
        super().__init__(pad_token="[PAD]", unk_token="[UNK]", special_tokens_pattern="none", **names)

    def get_vocab(self) -> dict[str, int]:
        return {"[PAD]": 0, "[UNK]": 1}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [text[start : start + 3] for start in range(0, len(text), 3)]

    def _convert_token_to_id(self, token: str) -> int:
        return 2 + sum(token.encode("utf-8", "surrogatepass"))


@pytest.fixture(scope="module")
def bertweet(tmp_path_factory: pytest.TempPathFactory) -> BertweetTokenizer:
    folder: Path = tmp_path_factory.mktemp("bertweet")
    tokens = [*LETTERS, *(f"{letter}@@" for letter in LETTERS), "th@@", "the", "cat", "今", "天", "今@@"]
    (folder / "vocab.txt").write_text("".join(f"{token} 1\n" for token in tokens), encoding="utf-8")
    merges = ["t h 9", "th e</w> 8", "c a 7", "ca t</w> 6"]
    (folder / "bpe.codes").write_text("".join(f"{merge}\n" for merge in merges), encoding="utf-8")
    return BertweetTokenizer(str(folder / "vocab.txt"), str(folder / "bpe.codes"))


@pytest.fixture(scope="module")
def byt5() -> ByT5Tokenizer:
    return ByT5Tokenizer()


def with_words(tokenizer: Any, texts: list[str], pairs: list[str] | None, max_length: int, truncation: str) -> Encoded:
    encoded = encode(tokenizer, texts, pairs, max_length=max_length, truncation=truncation)
    assert encoded.spans is None
    return replace(encoded, spans=word_spans(tokenizer, texts, pairs, encoded, truncation=truncation))


@given(
    texts=st.lists(PLAIN, min_size=1, max_size=3),
    truncation=TRUNCATIONS,
    max_length=st.integers(4, 60),
)
@settings(max_examples=40, deadline=None)
def test_without_offsets_each_byte_stands_for_its_character(byt5, texts, truncation, max_length) -> None:
    encoded = with_words(byt5, texts, None, max_length, truncation)
    for row, text in enumerate(texts):
        full = [[start, start + 1] for start, letter in enumerate(text, 1) for _ in letter.encode()]
        n_kept = min(len(full), max_length - 1)
        n_tail = {"head": 0, "tail": n_kept, "head_tail": n_kept // 2}[truncation]
        kept = full if n_kept == len(full) else full[: n_kept - n_tail] + full[len(full) - n_tail :]
        assert spans_of(encoded, row) == [*kept, [1 + len(text), 2 + len(text)]]


@given(
    words=st.lists(st.sampled_from(["the", "cat", "unable", "th", "a"]), max_size=9),
    blank=st.sampled_from([" ", " \t", "\u3000"]),
)
@settings(max_examples=40, deadline=None)
def test_without_offsets_each_token_stands_for_its_word(bertweet, words, blank) -> None:
    text = blank.join(words)
    encoded = with_words(bertweet, [text], None, 100, "head")
    tokens = bertweet.convert_ids_to_tokens(encoded.input_ids.tolist())[1:-1]
    pieces: dict[tuple[int, int], str] = {}
    for (start, end), token in zip(spans_of(encoded, 0)[1:-1], tokens, strict=True):
        pieces[start, end] = pieces.get((start, end), "") + token.removesuffix("@@")
    assert list(pieces.values()) == [text[start - 1 : end - 1] for start, end in pieces] == words


@pytest.mark.parametrize(
    ("text", "pair", "max_length", "spans"),
    [
        # BERTweet reads "the\n" as th@@ e@@ and an unknown token.
        ("the\ncat", None, 9, [[0, 1], [1, 4], [1, 4], [1, 4], [5, 8], [8, 9]]),
        ("今 天", None, 9, [[0, 1], [1, 2], [3, 4], [4, 5]]),
        ("今天", None, 9, [[0, 1], [1, 3], [1, 3], [3, 4]]),
        ("the cat", "cat", 9, [[0, 1], [1, 4], [5, 8], [8, 9], [8, 9], [9, 12], [12, 13]]),
        ("the cat the", "cat", 7, [[0, 1], [1, 4], [5, 8], [12, 13], [12, 13], [13, 16], [16, 17]]),
    ],
)
def test_words_are_found_in_lines_chinese_pairs_and_truncated_rows(bertweet, text, pair, max_length, spans) -> None:
    assert spans_of(with_words(bertweet, [text], pair and [pair], max_length, "head"), 0) == spans


def test_words_that_are_not_tokens_give_the_whole_text() -> None:
    encoded = with_words(AcrossBlanks(), ["the cat", "abc"], ["a", "a cat"], 99, "head")
    assert spans_of(encoded, 0) == [[1, 8]] * 3 + [[9, 10]]
    assert spans_of(encoded, 1) == [[1, 4], [5, 10], [5, 10]]


def test_a_text_without_any_token_keeps_its_place() -> None:
    assert spans_of(with_words(AcrossBlanks(), [""], None, 9, "head"), 0) == [[0, 1]]


def test_ids_of_another_truncation_are_refused(bertweet) -> None:
    encoded = encode(bertweet, ["the cat a"], None, max_length=4, truncation="tail")
    with pytest.raises(ValueError, match=r"row 0 must hold the tokenizer's ids .* \(got 'head'\)"):
        word_spans(bertweet, ["the cat a"], None, encoded, truncation="head")


def test_states_of_a_tokenizer_without_offsets_reach_the_words_of_another(bertweet) -> None:
    frame = encoded_by("wordpiece", [("the cats", "")], False, 40, "head")  # [CLS] the cat ##s [SEP]
    other = with_words(bertweet, ["the cats"], None, 40, "head")  # <s> the ca@@ t@@ s </s>
    sources = [list(received) for received in pairs_of(align(frame, other), frame, 0)]
    assert sources == [[0], [1], [2, 3, 4], [2, 3, 4], [5]]
