"""Which words of a text its label hangs on, so that augmenters spare them.

Source: Guo et al., Selective Text Augmentation with Word Roles for Low-Resource Text Classification, 2022,
https://arxiv.org/abs/2209.01560, which spares the words most related to the classes. Differs from it: words are weighed by
naive Bayes ratios of their TF-IDF (Wang and Manning, 2012, https://aclanthology.org/P12-2018), or by gradient times input
(Simonyan et al., 2013, https://arxiv.org/abs/1312.6034; Shrikumar et al., 2016, https://arxiv.org/abs/1605.01713).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts.paths import READOUT
from pipeline.augment.rewriting.spans import cut_spans, is_word, words_of
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.units.devices import gpu_count

if TYPE_CHECKING:
    from pipeline.models.batching import Encoded

Guide = Callable[[Sequence[str]], list[frozenset[str]]]
TOKENS_PER_BATCH = 8192


def tfidf_guide(corpus: Corpus, *, share: float) -> Guide:
    """Return a function that gives the words of each text which tell the corpus's classes apart.

    Args:
        corpus: texts and their labels.
        share: of a text's different words, rounded up; words that say nothing of the classes are never among them.

    Raises:
        ParamsError: if the corpus has no labels, or the share is not in (0, 1].
    """
    _check_share(share)
    if corpus.labels is None:
        raise ParamsError("guide.by: tfidf learns from labels, got texts without labels. Take gradient, or no guide.")
    weights = class_weights(corpus.texts, corpus.labels)
    return lambda texts: [
        _heaviest({word: weights.get(word.lower(), 0.0) for word in words_of(text)}, share) for text in texts
    ]


def class_weights(texts: Sequence[str], labels: Sequence[int]) -> dict[str, float]:
    """Return for each lower-cased word how much it speaks for a class and against the others: the highest log-ratio, >= 0.

    Compared are the sums of its TF-IDF in the class and outside with what they would be if it said nothing of the class,
    each with one added, so that rare words weigh little. The chi-squared statistic put "in" and "的" before most others.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(set(labels)) < 2 or not any(map(words_of, texts)):
        return {}
    vectorizer = TfidfVectorizer(analyzer=lambda text: [word.lower() for word in words_of(text)])
    classes = np.unique(labels)[:, None] == np.asarray(labels)  # (C, N)
    sums = classes.astype(np.float64) @ vectorizer.fit_transform(texts)  # (C, V)
    total = sums.sum(axis=0)
    expected = sums.sum(axis=1, keepdims=True) / total.sum() * total
    ratios = np.log((sums + 1) / (expected + 1)) - np.log((total - sums + 1) / (total - expected + 1))
    return dict(zip(vectorizer.get_feature_names_out().tolist(), ratios.max(axis=0).tolist(), strict=True))


def gradient_guide(folder: Path, *, share: float, device: str, max_length: int = 128) -> Guide:
    """Return a function that gives the words of each text which a trained model's decision hangs on.

    A word weighs as much as the heaviest of its tokens: the absolute sum, over the embedding, of gradient times input of the
    highest logit.

    Args:
        folder: a model as `modelling.save_classifier` writes it.
        share: of a text's different words, rounded up.
        max_length: tokens per text that are read; words behind them weigh nothing.

    Raises:
        ParamsError: if there is no such model, or the share is not in (0, 1].
    """
    _check_share(share)
    from pipeline.models.classifier import load_classifier

    if not (folder / READOUT).is_file():
        raise ParamsError(f"guide.model: {folder} holds no {READOUT}. Give the folder of a model of a fold.")
    model, tokenizer = load_classifier(folder)
    model.to("cuda" if gpu_count(device) else "cpu")
    positions = getattr(model.backbone.config, "max_position_embeddings", None) or 0
    positions = positions if positions > 0 else math.inf  # xlnet's -1 is none
    # roberta's positions start after the padding id
    n_tokens = int(min(max_length, positions - (tokenizer.pad_token_id or 0) - 1))

    def guide(texts: Sequence[str]) -> list[frozenset[str]]:
        from pipeline.models.batching import encode

        if not texts:
            return []
        encoded = encode(tokenizer, texts, None, max_length=n_tokens, truncation="head")
        if encoded.spans is None:
            raise ParamsError(
                "guide.model: its tokenizer gives no offsets of tokens. Take a model with a fast tokenizer."
            )
        spans = np.split(encoded.spans, encoded.starts[1:-1])  # a row's spans (tokens, 2)
        weights = _token_weights(model, encoded)
        return [_heaviest(_word_weights(*of_text), share) for of_text in zip(texts, spans, weights, strict=True)]

    return guide


def _token_weights(model: Any, encoded: "Encoded") -> list[np.ndarray]:
    """Return gradient times input of each token of each row, float32 (tokens,), >= 0."""
    import torch

    from pipeline.models.batching import micro_batches

    device = next(model.parameters()).device
    lengths = encoded.lengths
    weights = [np.empty(0, np.float32)] * len(lengths)
    for rows in micro_batches(np.arange(len(lengths)), lengths, token_budget=TOKENS_PER_BATCH):
        batch = {name: tensor.to(device) for name, tensor in encoded.batch(rows).items()}
        inputs: list[torch.Tensor] = []

        def keep(vectors: torch.Tensor, inputs: list[torch.Tensor] = inputs) -> torch.Tensor:
            inputs.append(vectors.detach().requires_grad_())
            return inputs[-1]

        # cuDNN's recurrent layers refuse gradients in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False), model.changed_embeddings(keep):
            logits = model(batch)  # (B, C)
            (gradients,) = torch.autograd.grad(logits.max(dim=1).values.sum(), inputs[:1])
        products = (gradients * inputs[0]).sum(dim=-1).abs().float()  # (B, T)
        if model.backbone.config.model_type == "xlnet":
            products = products.T  # it embeds the tokens as (T, B)
        for row, product in zip(rows, products.detach().cpu().numpy(), strict=True):
            weights[row] = product[: lengths[row]]
    return weights


def _word_weights(text: str, spans: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Return the highest weight of a token that lies in each word of a text."""
    starts, ends = spans[:, 0] - 1, spans[:, 1] - 1  # a row's axis begins with the place of a special token
    heaviest: dict[str, float] = {}
    for start, end in cut_spans(text):
        word = text[start:end]
        if is_word(word):
            inside = weights[(starts < end) & (ends > start)]
            heaviest[word] = max(heaviest.get(word, 0.0), float(inside.max(initial=0.0)))
    return heaviest


def _heaviest(weights: Mapping[str, float], share: float) -> frozenset[str]:
    """Return the share of the words that weigh most, but none without weight.

    >>> sorted(_heaviest({"a": 0.0, "b": 2.0, "c": 1.0, "d": 0.0}, 0.3))
    ['b', 'c']
    """
    ordered = sorted(weights, key=lambda word: (-weights[word], word))
    return frozenset(word for word in ordered[: math.ceil(share * len(ordered))] if weights[word] > 0)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ParamsError(f"guide.word_ratio: must be more than 0 and at most 1, got {share}. Try 0.2.")
