"""Guides: which words of a text its label hangs on."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import components
from pipeline.augment.label_words import class_weights, gradient_guide, tfidf_guide
from pipeline.augment.rewriting.spans import cut_spans
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.models.classifier import build_classifier, save_classifier
from pipeline.params.fields import Component
from tests.small import TEXTS, encoder

SAID = {0: "zebra", 1: "火车"}
FILLERS = ["the", "of", "house", "我们", "今天", "and", "garden", "公园", "is", "big"]


def planted(n: int = 60) -> Corpus:
    """Return texts of which one word alone tells the class."""
    chosen = random.Random(0)
    labels = [row % 2 for row in range(n)]
    texts = [" ".join(chosen.sample([*chosen.sample(FILLERS, k=7), SAID[label]], k=8)) for label in labels]
    return Corpus(texts, labels)


def words_of(text: str) -> set[str]:
    return {text[start:end] for start, end in cut_spans(text)}


def test_the_word_that_decides_the_class_is_spared() -> None:
    corpus = planted()
    spared = tfidf_guide(corpus, share=0.1)(corpus.texts)
    assert spared == [frozenset({SAID[label]}) for label in corpus.labels or ()]


@pytest.mark.parametrize(("share", "most"), [(0.1, 1), (0.5, 4), (1.0, 8)])
def test_the_share_says_how_many_words_are_spared(share: float, most: int) -> None:
    corpus = planted()
    spared = tfidf_guide(corpus, share=share)(corpus.texts)
    assert max(map(len, spared)) == most
    assert all(kept <= words_of(text) for kept, text in zip(spared, corpus.texts, strict=True))


def test_unknown_words_and_texts_without_words_spare_nothing() -> None:
    guide = tfidf_guide(planted(), share=1.0)
    assert guide(["", "😀 !!!", "unheard words"]) == [frozenset()] * 3
    assert guide(["ZEBRA unheard 火车"]) == [frozenset({"ZEBRA", "火车"})]
    assert guide([]) == []


def test_a_common_word_and_a_word_seen_once_weigh_less_than_one_that_decides() -> None:
    corpus = planted()
    texts = [f"{text} once" if row == 0 else text for row, text in enumerate(corpus.texts)]
    weights = class_weights(texts, corpus.labels or [])
    assert weights["zebra"] > 3 * max(weights["once"], weights["the"]) > 0


def test_a_corpus_of_one_class_spares_nothing() -> None:
    assert tfidf_guide(Corpus(["the zebra"], [0]), share=1.0)(["the zebra"]) == [frozenset()]
    assert tfidf_guide(Corpus(["", "!"], [0, 1]), share=1.0)(["the zebra"]) == [frozenset()]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model over word vectors, all small but those of the words that are said."""
    folder = tmp_path_factory.mktemp("model")
    options = {
        "vector_size": 8,
        "vector_epochs": 1,
        "min_count": 1,
        "layer": "none",
        "hidden_size": 8,
        "words": "jieba",
    }
    parts = components.build("encoders", "word_vectors", options, texts=planted().texts, seed=0)
    model = classifier(parts)
    table = model.backbone.embeddings.tuned
    with torch.no_grad():
        table.mul_(0.01)
        for word in SAID.values():
            table[parts.tokenizer.ids[word]] = 1.0 + torch.arange(8)
    save_classifier(model, parts.tokenizer, folder, source="word_vectors")
    return folder


def classifier(parts: Any) -> Any:
    pooling, head = Component(kind="poolings", name="mean"), Component(kind="heads", name="linear")
    return build_classifier(parts, pooling=pooling, head=head, n_outputs=2, seed=0)


def test_the_word_that_decides_for_a_model_is_spared(saved: Path) -> None:
    corpus = planted()
    guide = gradient_guide(saved, share=0.1, device="cpu")
    spared = guide(corpus.texts)
    assert spared == [frozenset({SAID[label]}) for label in corpus.labels or ()]
    assert [guide([text])[0] for text in reversed(corpus.texts)] == spared[::-1]
    assert guide(["", "😀", "zebra " * 500])[2] == {"zebra"} and guide([]) == []


@pytest.mark.parametrize("architecture", ["bert", "roberta", "bart", "deberta-v2", "gpt2", "xlnet"])
def test_every_family_of_models_can_guide(architecture: str, tmp_path: Path) -> None:
    extra = {"config": {"max_position_embeddings": None, "d_head": 8}} if architecture == "xlnet" else {}
    settings = encoder(architecture=architecture, **extra)
    parts = settings.source.build(texts=TEXTS, max_length=16, seed=0)
    save_classifier(classifier(parts), parts.tokenizer, tmp_path, source="from_config")
    texts = [*TEXTS[:3], "", f"{TEXTS[3]} " * 50]
    spared = gradient_guide(tmp_path, share=0.5, device="auto")(texts)
    assert all(kept <= words_of(text) for kept, text in zip(spared, texts, strict=True))
    assert [bool(kept) for kept in spared] == [True, True, True, False, True]


def test_a_span_of_a_token_counts_for_the_words_it_touches(saved: Path) -> None:
    (kept,) = gradient_guide(saved, share=0.2, device="cpu")(["我们去公园的火车,zebra很big今天"])
    assert kept == {"火车", "zebra"}


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(share: float, saved: Path) -> None:
    with pytest.raises(ParamsError, match=rf"guide\.word_ratio: must be .* got {share}"):
        tfidf_guide(planted(), share=share)
    with pytest.raises(ParamsError, match=rf"guide\.word_ratio: must be .* got {share}"):
        gradient_guide(saved, share=share, device="cpu")


def test_texts_without_labels_and_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"guide\.by: tfidf learns from labels"):
        tfidf_guide(Corpus(["a text"]), share=0.2)
    with pytest.raises(ParamsError, match=r"guide\.model: .* holds no readout\.json"):
        gradient_guide(tmp_path, share=0.2, device="cpu")
