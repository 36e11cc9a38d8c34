"""Whole words for the blanks of texts, drawn from a masked language model in batches of like lengths.

Source: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805 (masked words); Maddison et al., A* Sampling, 2014,
https://arxiv.org/abs/1411.0030 (Gumbel noise: the largest sum is a draw from the softmax). Each number of noise depends on
the blank and the word only, so that other texts in the batch change a draw only where two words tie within rounding.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import regex
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import locate
from pipeline.models.hub_checkpoints import check_vocabulary, from_pretrained, load_weights
from pipeline.text.words import IS_HAN, LETTERS, Span
from pipeline.units.devices import gpu_count

Kind = Literal["letters", "digits", "han"]
Window = tuple[int, list[int], list[tuple[int, int]]]  # row, input ids, (position, which of the row's blanks)
LONE_LETTERS = frozenset("aiAI")
ALL_LETTERS = regex.compile(LETTERS)
SURROGATES = {code: "\ufffd" for code in range(0xD800, 0xE000)}
HASH_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Blank:
    """A mask to fill: with a word of which kind, with which words not (case-folded), and the number that its noise has."""

    kind: Kind
    banned: frozenset[str]
    key: int


@dataclass(frozen=True)
class Masked:
    """Ids of a text without special tokens, and where its blanks stand in them."""

    input_ids: list[int]
    positions: list[int]
    blanks: list[Blank]


class MaskFiller:
    """A masked language model with its tokenizer. On a GPU or not, in float32, without gradients."""

    def __init__(
        self, *, model: str, device: str, top_k: int, temperature: float, tokens_per_batch: int, max_length: int
    ) -> None:
        """Load the model; arguments as in `augmenters/contextual.py`.

        Raises:
            ParamsError: if it cannot be loaded, has no mask token or was trained without the head that names words.
        """
        self.top_k, self.temperature, self.tokens_per_batch = top_k, temperature, tokens_per_batch
        self.tokenizer, self.model = _load(model)
        self.device = torch.device("cuda" if gpu_count(device) else "cpu")
        self.model.to(self.device).eval().base_model.register_forward_hook(self._only_blanks)
        self.mask_id: int = self.tokenizer.mask_token_id
        sample = self.tokenizer("a", return_special_tokens_mask=True)
        inner = [position for position, special in enumerate(sample["special_tokens_mask"]) if not special]
        self.before = sample["input_ids"][: inner[0]] if inner else sample["input_ids"][:1]
        self.after = sample["input_ids"][inner[-1] + 1 :] if inner else sample["input_ids"][1:]
        self.pad_id = self.model.config.pad_token_id or 0
        # RoBERTa's positions start behind the id of its padding.
        n_positions = getattr(self.model.config, "max_position_embeddings", 0) - self.pad_id - 1
        n_around = len(self.before) + len(self.after)
        self.window = max(1, min(max_length, n_positions if n_positions > 0 else max_length) - n_around)
        self.vocabulary = {kind: torch.tensor(ids, device=self.device) for kind, ids in self._read_words().items()}

    def _read_words(self) -> dict[Kind, list[int]]:
        """Return the ids of whole words by kind; keep what they read and, case-folded, in which columns they stand."""
        self.words: dict[int, str] = whole_words(self.tokenizer)
        ids: dict[Kind, list[int]] = {"letters": [], "digits": [], "han": []}
        self.columns: dict[Kind, defaultdict[str, list[int]]] = {kind: defaultdict(list) for kind in ids}
        for token_id, word in sorted(self.words.items()):
            kind = kind_of(word)
            if kind is not None and (kind != "letters" or len(word) > 1 or word in LONE_LETTERS or not word.isascii()):
                self.columns[kind][word.casefold()].append(len(ids[kind]))
                ids[kind].append(token_id)
        return ids

    def encode(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """Return ids without special tokens and the [start, end) of each."""
        whole = [text.translate(SURROGATES) for text in texts]  # tokenizers refuse half a character
        made = self.tokenizer(
            whole, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        return list(zip(made["input_ids"], made["offset_mapping"], strict=True))

    def can_fill(self, kind: Kind, banned: frozenset[str]) -> bool:
        """Return whether the vocabulary holds a word of the kind that is not banned."""
        columns = self.columns[kind]
        return len(self.vocabulary[kind]) > sum(len(columns[word]) for word in banned if word in columns)

    def fill(self, rows: Sequence[Masked]) -> list[list[str]]:
        """Return for each row the words of its blanks, each drawn by itself."""
        filled = [[""] * len(row.blanks) for row in rows]
        for batch in self._batches(rows):
            places = [(row, blank) for row, _, blanks in batch for _, blank in blanks]
            logits = self._logits(batch)  # (S, V)
            words = self._draw(logits, [rows[row].blanks[blank] for row, blank in places])
            for (row, blank), word in zip(places, words, strict=True):
                filled[row][blank] = word
        return filled

    def _batches(self, rows: Sequence[Masked]) -> Iterator[list[Window]]:
        windows = [window for number, row in enumerate(rows) for window in self._windows(number, row)]
        batch: list[Window] = []
        # By length, so that little is padded; a batch is full when its last and longest window, times rows, is.
        for window in sorted(windows, key=lambda window: len(window[1])):
            if batch and (len(batch) + 1) * len(window[1]) > self.tokens_per_batch:
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch

    def _windows(self, number: int, row: Masked) -> Iterator[Window]:
        """Yield the parts of a row that hold blanks, each no longer than the model reads."""
        for start in range(0, len(row.input_ids), self.window):
            end = start + self.window
            inside = [(p - start + len(self.before), i) for i, p in enumerate(row.positions) if start <= p < end]
            if inside:
                yield number, [*self.before, *row.input_ids[start:end], *self.after], inside

    def _logits(self, batch: list[Window]) -> torch.Tensor:
        """Return float32 logits (S, V) of the batch's S blanks, row by row."""
        longest = max(len(ids) for _, ids, _ in batch)
        padded = [ids + [self.pad_id] * (longest - len(ids)) for _, ids, _ in batch]
        lengths = torch.tensor([len(ids) for _, ids, _ in batch])
        mask = (torch.arange(longest) < lengths[:, None]).long()  # (B, T)
        rows, columns = zip(*((b, p) for b, (_, _, blanks) in enumerate(batch) for p, _ in blanks), strict=True)
        self._at = torch.tensor(rows), torch.tensor(columns)
        with torch.inference_mode():
            made = self.model(input_ids=torch.tensor(padded).to(self.device), attention_mask=mask.to(self.device))
        logits: torch.Tensor = made.logits[0].float()
        return logits

    def _only_blanks(self, module: Any, arguments: Any, output: Any) -> Any:
        """Pass on the states of the blanks alone: scoring 30,000 words at every token costs more than the encoder."""
        rows, columns = (index.to(output.last_hidden_state.device) for index in self._at)
        output["last_hidden_state"] = output.last_hidden_state[rows, columns].unsqueeze(0)  # (1, S, H)
        return output

    def _draw(self, logits: torch.Tensor, blanks: list[Blank]) -> list[str]:
        """Return a word for each of S blanks from their logits (S, V)."""
        words = [""] * len(blanks)
        for kind in self.vocabulary:
            chosen = [number for number, blank in enumerate(blanks) if blank.kind == kind]
            if not chosen:
                continue
            scores = logits[chosen][:, self.vocabulary[kind]]  # (S', K)
            for row, number in enumerate(chosen):
                columns = self.columns[kind]
                scores[row, [column for word in blanks[number].banned for column in columns.get(word, ())]] = -torch.inf
            top = scores.topk(min(self.top_k, scores.shape[1]))
            ids = self.vocabulary[kind][top.indices].cpu().numpy()  # (S', k)
            keys = np.array([blanks[number].key for number in chosen], dtype=np.uint64)
            noisy = top.values.cpu().numpy().astype(np.float64) / self.temperature + gumbel(keys[:, None], ids)
            best = ids[np.arange(len(chosen)), noisy.argmax(axis=1)]
            for number, token_id in zip(chosen, best.tolist(), strict=True):
                words[number] = self.words[token_id]
        return words


def kind_of(word: str) -> Kind | None:
    """Return what a word is made of, None for signs and mixtures with Chinese.

    >>> [kind_of(word) for word in ("covid19", "don't", "2020", "天气", "7天", "?")]
    ['letters', 'letters', 'digits', 'han', None, None]
    """
    n_han = len(IS_HAN.findall(word))
    if n_han:
        return "han" if n_han == len(word) else None
    if word.isdecimal():
        return "digits"
    return "letters" if any(map(str.isalpha, word)) else None


def whole_words(tokenizer: Any) -> dict[int, str]:
    """Return the tokens that are words of letters, of digits or of Chinese characters, by id.

    A word starts with a mark where the vocabulary marks what follows a blank (byte-level BPE, SentencePiece), and with
    no mark where it marks what does not (WordPiece). Chinese has no blanks: there the mark says nothing.
    """
    tokens: dict[str, int] = tokenizer.get_vocab()
    counts = {mark: sum(token.startswith(mark) for token in tokens) for mark in ("##", "Ġ", "▁")}
    mark = max(counts, key=lambda mark: counts[mark])
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    words: dict[int, str] = {}
    for token, token_id in tokens.items():
        if token_id in special:
            continue
        marked = token.startswith(mark)
        word = token.removeprefix(mark)
        if mark == "Ġ" and not word.isascii():
            word = tokenizer.backend_tokenizer.decoder.decode([word])
        is_han = kind_of(word) == "han" and not (marked and mark == "##")
        if is_han or (
            marked != (mark == "##") and (ALL_LETTERS.fullmatch(word) or word.isdecimal()) and not IS_HAN.search(word)
        ):
            words[token_id] = word
    return words


def gumbel(keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return standard Gumbel noise, float64 in the shape that both give, of keys (uint64) and ids >= 0 by splitmix64."""
    with np.errstate(over="ignore"):  # splitmix64 counts modulo 2**64
        mixed = keys + (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
        for shift, factor in HASH_STEPS:
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    # 53 bits, the most that a float64 holds, and a half: never 0 or 1, where the logarithms are infinite.
    uniform: np.ndarray = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    noise: np.ndarray = -np.log(-np.log(uniform))
    return noise


def _load(model: str) -> tuple[Any, Any]:
    """Return tokenizer and model."""
    origin, revision = locate(model)
    tokenizer = from_pretrained("AutoTokenizer", origin, revision)
    loaded, lacking = load_weights("AutoModelForMaskedLM", origin, revision)
    check_vocabulary(loaded, tokenizer, origin=origin)
    if tokenizer.mask_token_id is None or not tokenizer.is_fast:
        raise ParamsError(f"model: {model} must have a fast tokenizer with a mask token. Take a masked language model.")
    missing = [name for name in lacking if "position_ids" not in name]
    if missing:
        raise ParamsError(
            f"model: {model} must be a masked language model with its head, got none for {missing[:3]}. Take the "
            f"checkpoint as it was pre-trained; of ELECTRA the generator."
        )
    return tokenizer, loaded
