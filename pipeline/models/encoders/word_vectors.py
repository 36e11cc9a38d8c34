"""Word vectors, read from a file or trained on the fold's texts, with a BiLSTM or convolutions over them.

Source: the formats of word2vec and GloVe; Bojanowski et al., Enriching Word Vectors with Subword Information, 2017
(fastText), https://arxiv.org/abs/1607.04606; Mikolov et al., 2013 (skip-gram), https://arxiv.org/abs/1301.3781
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import misplaced
from pipeline.params.problems import Problem
from pipeline.ranges import Name, PositiveInt, Ratio
from pipeline.text.vector_files import Vectors, read_vectors, vector_size
from pipeline.text.words import (
    IS_HAN,
    SPECIAL,
    Kind,
    WordTokenizer,
    find_word,
    kind_of_words,
    word_forms,
    word_spans,
    word_tags,
)

FILES = ("path",)
LIBRARIES = ("gensim", "jieba")  # their versions stand in the recipe
FREEZES = {"tune": False}  # with this option the vectors do not learn
SUBWORDS = {"blank": (3, 6), "jieba": (1, 3), "character": (1, 1)}
BUCKETS = 50_000  # fastText's own 2 million would take 800 MB and know no more of so few texts


def build(
    *,
    texts: Sequence[str],
    seed: int,
    path: Name | None = None,
    algorithm: Literal["fasttext", "word2vec"] = "fasttext",
    vector_size: PositiveInt = 100,
    window: PositiveInt = 5,
    vector_epochs: PositiveInt = 10,
    min_count: PositiveInt = 2,
    words: Literal["auto", "jieba", "blank", "character"] = "auto",
    max_words: PositiveInt = 50_000,
    tune: bool = True,
    layer: Literal["bilstm", "cnn", "none"] = "bilstm",
    hidden_size: PositiveInt = 256,
    n_layers: PositiveInt = 1,
    dropout: Ratio = 0.2,
    pos_size: PositiveInt | None = None,
) -> EncoderParts:
    """Look the texts' words up in a file of vectors, or train vectors on the texts, and put new layers on them.

    Args:
        texts: the training texts of the fold.
        seed: of the vectors' training and of the initial weights.
        path: a text file of word2vec (first line: count and size) or GloVe, also `.gz`; None trains vectors on the texts.
        algorithm: what trains them: fastText over sub-words, which also gives vectors to the characters of rare Chinese
            words, or word2vec; both skip-gram.
        vector_size: numbers per word, when trained; a file has its own.
        window: words on each side that count as context, when trained.
        vector_epochs: passes over the texts, when trained.
        min_count: how often a word must occur in the texts to be learnt; one that the file knows is known anyway.
        words: jieba for Chinese, blank for languages that write blanks, character; auto decides, and takes characters, with
            their marks, where no blanks are written, as in Thai, Khmer or Japanese.
        max_words: at most so many words: first those of the texts, then the file's, in its order.
        tune: whether the vectors of the texts' words are trained on; those of other words never are. Without it a word
            that has no vector is unknown.
        layer: what reads the vectors: bilstm, cnn or none.
        hidden_size: width of all states; the vectors are projected to it.
        n_layers: number of layers.
        dropout: after the embeddings and after each layer.
        pos_size: numbers of a vector of the word's part of speech in its text, which stands beside the word's own and is
            learnt; None: none. jieba knows those of Chinese words: of English ones it only says `eng`.

    Raises:
        ParamsError: if the file is broken, knows no word of the texts, or no word occurs often enough.
    """
    kind = kind_of_words(texts) if words == "auto" else words
    sentences = [[text[start:end] for start, end in word_spans(text, kind)] for text in texts]
    if path is None:
        options = {"vector_size": vector_size, "window": window, "epochs": vector_epochs, "min_count": min_count}
        vectors = _train(sentences, algorithm, kind, seed, max_words, options)
        vocabulary, n_in_texts = list(vectors), len(vectors)
    else:
        vectors, vocabulary, n_in_texts = _look_up(sentences, path, min_count if tune else None, max_words)
    from pipeline.models.word_embeddings import new_model

    n_tuned = len(SPECIAL) + n_in_texts if tune else 0
    shapes: dict[str, Any] = {"n_tuned": n_tuned, "hidden_size": hidden_size, "layer": layer}
    shapes["num_hidden_layers"] = 0 if layer == "none" else n_layers
    tags = [] if pos_size is None else _tags_of(texts, kind)
    if tags:
        shapes |= {"n_tags": len(tags), "pos_size": pos_size}
    model = new_model(vocabulary, vectors, seed=seed, dropout=dropout, **shapes)
    return EncoderParts(model, cast(Any, WordTokenizer(vocabulary, kind, tags)))


def restore(*, folder: Path) -> EncoderParts:
    """Return a model of a saved configuration, its weights still to be loaded, and the tokenizer saved beside it."""
    from pipeline.models.word_embeddings import WordVectorsConfig, WordVectorsModel

    model = WordVectorsModel(WordVectorsConfig.from_pretrained(folder))
    return EncoderParts(model, cast(Any, WordTokenizer.from_pretrained(folder)))


def check(*, options: dict[str, Any]) -> Iterator[Problem]:
    """Yield why the file of vectors cannot be read, or the layers cannot be built."""
    if options["hidden_size"] % 2 and options["layer"] == "bilstm":
        odd = f"must be even, as a bilstm has two directions, got {options['hidden_size']}. Add one."
        yield Problem(("source", "hidden_size"), odd)
    path = options["path"]
    missing = f"no such file: {path}. Put the vectors there or correct the path."
    if path is not None and (text := misplaced(path, "file") or (None if os.path.isfile(path) else missing)):
        yield Problem(("source", "path"), text, "E204")


def n_parameters(*, options: dict[str, Any]) -> int:
    """Return about how many parameters the model has at most."""
    size = options["vector_size"] if options["path"] is None else vector_size(Path(options["path"]))
    width = options["hidden_size"]
    # Of a bilstm, the larger of the two: four gates over the input and the state, both ways.
    layers = 0 if options["layer"] == "none" else options["n_layers"] * 6 * width**2
    return int(options["max_words"] * size + (size + (options["pos_size"] or 0)) * width + layers)


def state_shape(*, options: dict[str, Any]) -> tuple[int, int]:
    """Return the number of layers over the vectors and the width of the states."""
    return 0 if options["layer"] == "none" else int(options["n_layers"]), int(options["hidden_size"])


def _tags_of(texts: Sequence[str], kind: Kind) -> list[str]:
    """Return the parts of speech of the texts' words."""
    return sorted({tag for text in texts for tag in word_tags(text, [start for start, _ in word_spans(text, kind)])})


def _look_up(
    sentences: list[list[str]], path: str, min_count: int | None, max_words: int
) -> tuple[Vectors, list[str], int]:
    """Return a file's vectors, the vocabulary, and how many of its words, the first, stand in the texts.

    Words without a vector are taken from `min_count` occurrences on; None takes none.
    """
    counts = Counter(word for sentence in sentences for word in sentence)
    wanted = {form for word in counts for form in (*word_forms(word), *word)}
    vectors = read_vectors(Path(path), wanted=wanted, n_more=max_words)
    forms = Counter[str]()
    for word, count in counts.items():
        forms[find_word(word, vectors) or _trained_form(word)] += count
    if not any(word in vectors for word in forms):
        raise ParamsError(
            f"{path}: must know words of the texts, got none of {len(forms)}. Take vectors of their language, or see `words`."
        )
    learnable = Counter[str]()
    for word, count in forms.items():
        if word in vectors or (min_count is not None and count >= min_count):
            learnable[word] += count
        else:  # the tokenizer will read it as its characters
            learnable.update({letter: count for letter in word if IS_HAN.match(letter) and letter in vectors})
    kept = sorted(learnable, key=lambda word: (-learnable[word], word))[:max_words]
    others = [word for word in vectors if word not in learnable]
    return vectors, [*kept, *others[: max_words - len(kept)]], len(kept)


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
        vectors, rare = Word2Vec(lowered, **common).wv, set[str]()
    else:
        shortest, longest = SUBWORDS[kind]
        vectors = FastText(lowered, min_n=shortest, max_n=longest, bucket=BUCKETS, **common).wv
        rare = {character for word in counts for character in word if IS_HAN.match(character)}
    names = [*vectors.index_to_key, *sorted(rare - set(vectors.index_to_key))]
    return {name: np.array(vectors[name]) for name in names[:max_words]}


def _trained_form(word: str) -> str:
    """Return the form of a word that is trained: links and names are one word each, the rest is lower-cased.

    >>> _trained_form("@Bob"), _trained_form("#Fire"), _trained_form("https://t.co/1")
    ('<user>', '#fire', '<url>')
    """
    forms = list(word_forms(word))
    return forms[-1] if forms[-1] in ("<user>", "<url>") else forms[min(1, len(forms) - 1)]
