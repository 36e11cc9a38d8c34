"""Word vectors, read from a file or trained on the fold's texts, with a BiLSTM or convolutions over them.

Source: the formats of word2vec and GloVe; Bojanowski et al., Enriching Word Vectors with Subword Information, 2017
(fastText), https://arxiv.org/abs/1607.04606; Mikolov et al., 2013 (skip-gram), https://arxiv.org/abs/1301.3781
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.models.heads.bilstm import read_both_ways
from pipeline.text.vector_files import Vectors, read_vectors
from pipeline.text.words import (
    IS_HAN,
    SPECIAL,
    Kind,
    WordTokenizer,
    find_word,
    is_mainly_chinese,
    word_forms,
    word_spans,
)

LIBRARIES = ("gensim", "jieba")  # their versions stand in the recipe
INITIAL_STD = 0.1
SUBWORDS = {"blank": (3, 6), "jieba": (1, 3), "character": (1, 1)}
BUCKETS = 50_000  # fastText's own 2 million would take 800 MB and know no more of so few texts


class WordVectorsConfig(PreTrainedConfig):
    """Shapes of the model; the first `n_tuned` of the vocabulary's vectors are trained."""

    model_type = "word_vectors"
    vocab_size: int = 3
    pad_token_id: int | None = 0
    n_tuned: int = 3
    vector_size: int = 100
    hidden_size: int = 256
    num_hidden_layers: int = 1
    layer: str = "bilstm"
    dropout: float = 0.2


class WordEmbeddings(nn.Module):
    """A table of vectors of which only the first rows are trained: a step costs no more with a large file."""

    def __init__(self, n_tuned: int, n_fixed: int, vector_size: int) -> None:
        super().__init__()
        self.tuned = nn.Parameter(torch.zeros(n_tuned, vector_size), requires_grad=n_tuned > 0)
        self.fixed: torch.Tensor
        self.register_buffer("fixed", torch.zeros(n_fixed, vector_size))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        n_tuned = len(self.tuned)
        if len(self.fixed) == 0:
            return functional.embedding(input_ids, self.tuned)
        fixed = functional.embedding((input_ids - n_tuned).clamp(min=0), self.fixed)
        if n_tuned == 0:
            return fixed
        tuned = functional.embedding(input_ids.clamp(max=n_tuned - 1), self.tuned)
        return torch.where((input_ids < n_tuned).unsqueeze(-1), tuned, fixed)  # (B, T, V)


class LstmLayer(nn.Module):
    """Reads the tokens in both directions, padding left out."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(hidden_size, hidden_size // 2, batch_first=True, bidirectional=True)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return read_both_ways(self.lstm, states, attention_mask)  # (B, T, H)


class CnnLayer(nn.Module):
    """Adds to each token what a window of three sees; padding is read as zero."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(hidden_size, hidden_size, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        seen = (states * attention_mask.unsqueeze(-1)).transpose(1, 2)  # (B, H, T)
        return self.norm(states + functional.gelu(self.convolve(seen)).transpose(1, 2))  # (B, T, H)


class WordVectorsModel(PreTrainedModel):
    """Embeddings, made as wide as the layers, and the layers."""

    config_class = WordVectorsConfig

    def __init__(self, config: WordVectorsConfig) -> None:
        super().__init__(config)
        self.embeddings = WordEmbeddings(config.n_tuned, config.vocab_size - config.n_tuned, config.vector_size)
        same = config.vector_size == config.hidden_size
        self.embed_projection = nn.Identity() if same else nn.Linear(config.vector_size, config.hidden_size)
        layer = {"bilstm": LstmLayer, "cnn": CnnLayer}.get(config.layer)
        layers = [layer(config.hidden_size) for _ in range(config.num_hidden_layers)] if layer else []
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initial weights."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> BaseModelOutput:
        states = self.dropout(self.embed_projection(self.embeddings(input_ids)))  # (B, T, H)
        hidden_states = [states]
        for layer in self.layers:
            states = self.dropout(layer(states, attention_mask))  # (B, T, H)
            hidden_states.append(states)
        every = tuple(hidden_states) if output_hidden_states else None
        return BaseModelOutput(last_hidden_state=states, hidden_states=cast(Any, every))


def build(
    *,
    texts: Sequence[str],
    max_length: int,
    seed: int,
    path: str | None = None,
    algorithm: Literal["fasttext", "word2vec"] = "fasttext",
    vector_size: int = 100,
    window: int = 5,
    vector_epochs: int = 10,
    min_count: int = 2,
    words: Literal["auto", "jieba", "blank", "character"] = "auto",
    max_words: int = 50_000,
    tune: bool = True,
    layer: Literal["bilstm", "cnn", "none"] = "bilstm",
    hidden_size: int = 256,
    n_layers: int = 1,
    dropout: float = 0.2,
) -> EncoderParts:
    """Look the texts' words up in a file of vectors, or train vectors on the texts, and put new layers on them.

    Args:
        texts: the training texts of the fold.
        max_length: not used: no text is too long for the model.
        seed: of the vectors' training and of the initial weights.
        path: a text file of word2vec (first line: count and size) or GloVe, also `.gz`; None trains vectors on the texts.
        algorithm: what trains them: fastText over sub-words, which also gives vectors to the characters of rare Chinese
            words, or word2vec; both skip-gram.
        vector_size: numbers per word, when trained; a file has its own.
        window: words on each side that count as context, when trained.
        vector_epochs: passes over the texts, when trained.
        min_count: how often a word must occur in the texts to be learnt; one that the file knows is known anyway.
        words: jieba for Chinese, blank for languages that write blanks, character; auto decides between the first two.
        max_words: at most so many words: first those of the texts, then the file's, in its order.
        tune: whether the vectors of the texts' words are trained on; those of other words never are. Without it a word
            that has no vector is unknown.
        layer: what reads the vectors: bilstm, cnn or none.
        hidden_size: width of all states; the vectors are projected to it.
        n_layers: number of layers.
        dropout: after the embeddings and after each layer.

    Raises:
        ParamsError: if the file is broken, knows no word of the texts, or no word occurs often enough.
    """
    if hidden_size % 2 and layer == "bilstm":
        raise ParamsError(f"source.hidden_size: a bilstm has two directions, got {hidden_size}. Take an even number.")
    kind: Kind = ("jieba" if is_mainly_chinese(texts) else "blank") if words == "auto" else words
    sentences = [[text[start:end] for start, end in word_spans(text, kind)] for text in texts]
    counts = Counter(word for sentence in sentences for word in sentence)
    if path is None:
        options = {"vector_size": vector_size, "window": window, "epochs": vector_epochs, "min_count": min_count}
        vectors = _train(sentences, algorithm, kind, seed, max_words, options)
        vocabulary = list(vectors)
        n_own = len(vocabulary)
    else:
        wanted = {form for word in counts for form in (*word_forms(word), *word)}
        vectors = read_vectors(Path(path), wanted=wanted, n_more=max_words)
        vocabulary, n_own = _choose_words(counts, vectors, path, min_count if tune else None, max_words)
    torch.manual_seed(seed)
    model = WordVectorsModel(
        WordVectorsConfig(
            vocab_size=len(SPECIAL) + len(vocabulary),
            n_tuned=len(SPECIAL) + n_own if tune else 0,
            vector_size=len(next(iter(vectors.values()))),
            hidden_size=hidden_size,
            num_hidden_layers=0 if layer == "none" else n_layers,
            layer=layer,
            dropout=dropout,
        )
    )
    _fill(model.embeddings, vocabulary, vectors, seed)
    return EncoderParts(model, cast(Any, WordTokenizer(vocabulary, kind)))


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    model = WordVectorsModel(WordVectorsConfig.from_pretrained(folder))
    return EncoderParts(model, cast(Any, WordTokenizer.from_pretrained(folder)))


def _choose_words(
    counts: Counter[str], vectors: Vectors, path: str, min_count: int | None, max_words: int
) -> tuple[list[str], int]:
    """Return the vocabulary and how many of its words, the first, stand in the texts.

    Words without a vector are taken from `min_count` occurrences on; None takes none.
    """
    forms = Counter[str]()
    for word, count in counts.items():
        forms[find_word(word, vectors) or _trained_form(word)] += count
    if not any(word in vectors for word in forms):
        raise ParamsError(
            f"{path}: must know words of the texts, got none of {len(forms)}. Take vectors of their language, or see `words`."
        )
    own = Counter[str]()
    for word, count in forms.items():
        if word in vectors or (min_count is not None and count >= min_count):
            own[word] += count
        else:  # the tokenizer will read it as its characters
            own.update({character: count for character in word if IS_HAN.match(character) and character in vectors})
    kept = sorted(own, key=lambda word: (-own[word], word))[:max_words]
    others = [word for word in vectors if word not in own]
    return [*kept, *others[: max_words - len(kept)]], len(kept)


def _train(
    sentences: list[list[str]], algorithm: str, kind: Kind, seed: int, max_words: int, options: dict[str, Any]
) -> Vectors:
    """Return the vectors of the words, frequent first; fastText also gives those of the texts' Chinese characters."""
    try:
        from gensim.models import FastText, Word2Vec
    except ImportError as error:
        raise ParamsError("source: gensim is not installed. `pip install gensim`, or give `path`.") from error
    lowered = [[_trained_form(word) for word in sentence] for sentence in sentences]
    counts = Counter(word for sentence in lowered for word in sentence)
    if max(counts.values(), default=0) < options["min_count"]:
        raise ParamsError(
            f"source.min_count: no word of the {len(sentences)} texts occurs {options['min_count']} times. Lower it."
        )
    common = {"sg": 1, "seed": seed, "workers": 1, **options}
    if algorithm == "word2vec":
        trained = Word2Vec(lowered, **common)
        names = trained.wv.index_to_key
    else:
        shortest, longest = SUBWORDS[kind]
        trained = FastText(lowered, min_n=shortest, max_n=longest, bucket=BUCKETS, **common)
        rare = {character for word in counts for character in word if IS_HAN.match(character)}
        names = [*trained.wv.index_to_key, *sorted(rare - set(trained.wv.index_to_key))]
    return {name: np.array(trained.wv[name]) for name in names[:max_words]}


def _trained_form(word: str) -> str:
    """Return the form of a word that is trained: links and names are one word each, the rest is lower-cased.

    >>> _trained_form("@Bob"), _trained_form("#Fire"), _trained_form("https://t.co/1")
    ('<user>', '#fire', '<url>')
    """
    forms = list(word_forms(word))
    return forms[-1] if forms[-1] in ("<user>", "<url>") else forms[min(1, len(forms) - 1)]


def _fill(embeddings: WordEmbeddings, vocabulary: list[str], vectors: Vectors, seed: int) -> None:
    """Set the vectors of the words; those without one, and the special tokens but padding, start small at random."""
    size = embeddings.fixed.shape[1]
    generator = torch.Generator().manual_seed(seed)
    table = INITIAL_STD * torch.randn(len(SPECIAL) + len(vocabulary), size, generator=generator)
    table[0] = 0.0
    for row, word in enumerate(vocabulary, len(SPECIAL)):
        if word in vectors:
            table[row] = torch.from_numpy(vectors[word])
    with torch.no_grad():
        n_tuned = len(embeddings.tuned)
        embeddings.tuned.copy_(table[:n_tuned])
        embeddings.fixed.copy_(table[n_tuned:])
