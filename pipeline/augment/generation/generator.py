"""Texts made from texts by a sequence-to-sequence or causal model: batched, kept on disk, each text's result its own.

The shapes of batches follow from the text alone: widths in steps of 16 with at least one place of padding, rows filled up
to a multiple of 8. Measured: with one CPU thread a row's logits then had the same bits whatever stood beside it, for
Marian, T5 and GPT-2; with fewer than 4 rows, another width or two threads they moved by 1e-6. Rounding logits would not
help: it moves the places where a draw tips over, and leaves as many.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any, NamedTuple

from pipeline.augment.generation.decoding import Decoding, decode_batch, load_model
from pipeline.augment.generation.languages import steer
from pipeline.augment.generation.pieces import ROW_STEP, fitting, has_letters, join_pieces, width_of
from pipeline.augment.generation.translation_cache import FOLDER, Made, model_digest, open_cache
from pipeline.augment.rewriting.spans import CLOSE
from pipeline.errors.exceptions import MachineError, ParamsError
from pipeline.model_sources import locate
from pipeline.models.accelerators import is_out_of_memory
from pipeline.models.hub_checkpoints import from_pretrained
from pipeline.recipes.fingerprint import code_digests
from pipeline.reproducibility import derive_seed, digest
from pipeline.units.devices import gpu_count

MOST_TOKENS = 512  # of models that do not say theirs
LENGTH_RATIO, LENGTH_MORE = 2, 10
N_SPECIAL = 8
LIBRARIES = ("torch", "transformers", "tokenizers", "sentencepiece", "sacremoses")
BLANK_IN_CHINESE = re.compile(rf"(?<={CLOSE.pattern}) +(?={CLOSE.pattern})")
log = logging.getLogger(__name__)


class Prompt(NamedTuple):
    """What a text is made from; the seed counts only for sampling."""

    text: str
    seed: int = 0


def check(decoding: Decoding) -> None:
    """Refuse more candidates than there are beams.

    Raises:
        ParamsError: if there are.
    """
    if not decoding.sampling and decoding.n_candidates > decoding.beams:
        raise ParamsError(
            f"n_candidates: beam search gives at most as many as `beams`, {decoding.beams}, got {decoding.n_candidates}. "
            "Raise beams, or set sampling: true."
        )


@dataclass(eq=False)
class Generator:
    """Makes texts with one model. The weights load when a text needs them that was not made before.

    Raises:
        ParamsError: if there is no such model.
    """

    model: str  # a folder, or a hub checkpoint at a commit
    decoding: Decoding
    device: str
    tokens_per_batch: int  # padded ones, times beams
    causal: bool = False  # whether the model continues a text instead of writing it anew
    prefix: str = ""  # what is written before each text
    route: tuple[str, str] = ("", "")  # source and target language, for models of many
    cached: bool = True  # whether results are kept on disk and found there

    def __post_init__(self) -> None:
        self.origin, self.revision = locate(self.model)
        self.device = "cuda" if gpu_count(self.device) else "cpu"

    def generate(self, prompts: Sequence[Prompt]) -> list[Made]:
        """Return for each prompt its candidates, best first, None where one found no end within its limit.

        A text longer than the model takes is cut into sentences, then clauses, and its candidate i is candidate i of all
        its pieces; of a causal model's text the last tokens count. A piece without a letter stays as it is.
        """
        items = [self._items(prompt) for prompt in prompts]
        made = self._made(dict.fromkeys(item for pieces in items for item in pieces if has_letters(item.text)))
        n_each = 1 if self.decoding.sampling else self.decoding.n_candidates
        return [join_pieces([made.get(item) or [item.text] * n_each for item in pieces]) for pieces in items]

    def _items(self, prompt: Prompt) -> list[Prompt]:
        """Return the pieces of a text that the model takes at once, each with its own seed."""
        tokenizer, before, _, limit = self._reading
        text = prompt.text.encode("utf-8", "ignore").decode()  # half a surrogate pair makes tokenizers fail
        pieces = [text]
        if not self.causal and len((before + text).encode()) + N_SPECIAL > limit:
            read = partial(tokenizer, verbose=False)
            pieces = list(fitting(text, lambda piece: len(read(before + piece)["input_ids"]) <= limit))
        seeds = [derive_seed(prompt.seed, number) if self.decoding.sampling else 0 for number in range(len(pieces))]
        return [Prompt(piece.strip(), seed) for piece, seed in zip(pieces, seeds, strict=True)]

    def _made(self, items: Iterable[Prompt]) -> dict[Prompt, Made]:
        keys = {item: digest([self._settings, *item])[:32] for item in items}
        cache = open_cache((FOLDER / model_digest(self.origin, self.revision)).resolve()) if self.cached else None
        known = cache.read(set(keys.values())) if cache else {}
        made = {item: known[key] for item, key in keys.items() if key in known}
        for batch in self._run([item for item in keys if item not in made]):
            if cache:
                cache.add({keys[item]: candidates for item, candidates in batch.items()})
            made |= batch
        return made

    @cached_property
    def _settings(self) -> str:
        """Return the digest of what a result depends on besides model and text; threads, which move 1e-6, are left out."""
        settings = [asdict(self.decoding), self.causal, self.prefix, self.route, self.device]
        return digest([settings, [_version(name) for name in LIBRARIES], code_digests([(__name__, "Generator")])])

    @cached_property
    def _reading(self) -> tuple[Any, str, int | None, int]:
        """Return the tokenizer, what stands before each text, the forced first token, and how many tokens may be read."""
        tokenizer = from_pretrained("AutoTokenizer", self.origin, self.revision)
        config = from_pretrained("AutoConfig", self.origin, self.revision)
        marker, first = steer(tokenizer, source=self.route[0], target=self.route[1]) if any(self.route) else ("", None)
        positions = getattr(config, "max_position_embeddings", None)
        known = [limit for limit in (tokenizer.model_max_length, positions) if limit and limit < 10**6]
        return tokenizer, marker + self.prefix, first, min(known, default=MOST_TOKENS)

    def _run(self, items: list[Prompt]) -> Iterator[dict[Prompt, Made]]:
        """Yield what the model makes, batch by batch; a batch too large for memory is halved, and those after it."""
        if not items:
            return
        ids = dict(zip(items, self._encode([item.text for item in items]), strict=True))
        # The longest first: if memory does not suffice it shows at once, and the sort keeps groups of a width together.
        ordered = sorted(items, key=lambda item: -len(ids[item]))
        for width, group in groupby(ordered, key=lambda item: width_of(len(ids[item]))):
            waiting = list(group)
            while waiting:
                n_rows = self._n_rows(width)
                batch, rest = waiting[:n_rows], waiting[n_rows:]
                try:
                    yield self._batch(batch, [ids[item] for item in batch], width)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    if n_rows <= ROW_STEP:
                        raise MachineError(
                            f"{self.origin}: {n_rows} texts at once do not fit into memory. Free memory, set run.device: "
                            "cpu, or choose a smaller model or shorter texts.",
                            code="E403",
                        ) from error
                    self.tokens_per_batch = self._n_rows(width) // 2 * width * self.decoding.beams
                    log.warning("%s: out of memory, tokens_per_batch is now %d", self.origin, self.tokens_per_batch)
                    continue
                waiting = rest

    def _n_rows(self, width: int) -> int:
        most = self.tokens_per_batch // (width * self.decoding.beams)
        return max(ROW_STEP, most // ROW_STEP * ROW_STEP)

    def _batch(self, items: list[Prompt], ids: list[list[int]], width: int) -> dict[Prompt, Made]:
        tokenizer, _, first, limit = self._reading
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        # On a GPU the kernels, and with them the last bits, change with the number of rows, and rows cost little.
        n_rows = self._n_rows(width) if self.device == "cuda" else -(-len(items) // ROW_STEP) * ROW_STEP
        filled = [*range(len(items)), *[0] * (n_rows - len(items))]
        lengths = [self.decoding.n_tokens or min(limit, LENGTH_RATIO * len(row) + LENGTH_MORE) for row in ids]
        rows = [ids[number] for number in filled]
        limits, seeds = [lengths[number] for number in filled], [items[number].seed for number in filled]
        around: dict[str, Any] = {"causal": self.causal, "pad": tokenizer.pad_token_id, "end": end}
        model = load_model(self.origin, self.revision, device=self.device, **around)
        made = decode_batch(model, rows, self.decoding, width=width, limits=limits, seeds=seeds, first_token=first)
        return {item: list(map(self._text, candidates)) for item, candidates in zip(items, made, strict=False)}

    def _text(self, tokens: list[int] | None) -> str | None:
        if tokens is None:
            return None
        return BLANK_IN_CHINESE.sub("", self._reading[0].decode(tokens, skip_special_tokens=True)).strip()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        tokenizer, before, _, limit = self._reading
        ids = tokenizer([before + text for text in texts], split_special_tokens=True, verbose=False)["input_ids"]
        if not self.causal:
            return [row[:limit] for row in ids]
        closing = {tokenizer.eos_token_id, tokenizer.sep_token_id}  # BERT's tokenizer closes what is to be continued
        room = max(1, limit - self.decoding.n_tokens)
        return [(row[:-1] if len(row) > 1 and row[-1] in closing else row)[-room:] for row in ids]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
