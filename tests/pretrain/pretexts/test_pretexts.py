"""What every pretext must keep, and what a masked language model is held to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain.pretext import Pretext
from tests.pretrain.tokenizers_of import small_start
from tests.small import TEXTS

# The source that a pretext is for, where it is not bert from configuration, and the masking where it must be one of spans.
DECODER = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
SOURCES: dict[str, dict[str, Any]] = {
    "bidirectional_lm": {"name": "bilstm", "vocab_size": 200, "hidden_size": 16},
    "causal_lm": {"architecture": "gpt2"},
    "infilling": {"architecture": "bart", "config": DECODER},
    "permutation_lm": {"architecture": "xlnet"},
}
MASKINGS = {"span_boundary": "span"}
NOT_DRAWN = ("bidirectional_lm", "causal_lm")
NAMES = components.available("pretexts")


def pretext_of(name: str, **options: Any) -> Pretext:
    masking = MASKINGS.get(name, "whole_word")
    built: Pretext = components.build(
        "pretexts", name, options, start=small_start(**SOURCES.get(name, {})), masking=components.build("masking", masking),
        mask_ratio=0.15, max_length=32, seed=0,
    )  # fmt: skip
    return built


def sums(pretext: Pretext, rows: list[int], *, epoch_of: Callable[[int], int] = lambda step: 0) -> dict[str, float]:
    """Return the losses of rows, summed, without dropout."""
    objective = pretext.objective(TEXTS[:24], seed=1, epoch_of=epoch_of)
    pretext.model.eval()
    with torch.no_grad():
        losses = objective.loss_sums(pretext.model, objective.batch(np.array(rows), 3), 0.0)
    return {name: float(loss) for name, loss in losses.items()}


@pytest.mark.parametrize("name", NAMES)
def test_how_rows_are_cut_into_batches_changes_no_loss_and_each_epoch_has_its_own(name: str) -> None:
    pretext, rows = pretext_of(name), list(range(12))
    whole = sums(pretext, rows)
    parts = [sums(pretext, part) for part in (rows[5:][::-1], rows[:2], rows[2:5])]
    for loss in whole:
        assert whole[loss] == pytest.approx(sum(part.get(loss, 0.0) for part in parts), rel=1e-4)
    assert sums(pretext_of(name), rows) == whole
    assert (sums(pretext, rows, epoch_of=lambda step: step) != whole) == (name not in NOT_DRAWN)


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_items_and_a_finite_gradient_and_is_measured(name: str) -> None:
    pretext = pretext_of(name)
    objective = pretext.objective(TEXTS[:24], seed=1, epoch_of=lambda step: step)
    assert len(objective.lengths) == 24
    batch = objective.batch(np.arange(8), 0)
    losses, weights = objective.loss_sums(pretext.model, batch, 0.0), objective.weights(batch)
    assert set(losses) <= set(weights) and all(weights[loss] > 0 for loss in losses)
    torch.stack(list(losses.values())).sum().backward()
    gradients = [parameter.grad for parameter in pretext.model.parameters() if parameter.grad is not None]
    assert gradients and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    scores = pretext.score_sums(batch)
    assert "loss" in scores and all(n_items > 0 and np.isfinite(float(total)) for total, n_items in scores.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_the_encoder_that_learnt(name: str, tmp_path: Path) -> None:
    pretext = pretext_of(name)
    pretext.save(tmp_path)
    model, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert all("pooler" in missing for missing in report["missing_keys"])
    learnt = {tensor.numpy().tobytes() for tensor in pretext.model.state_dict().values()}
    kept = {key: tensor for key, tensor in model.state_dict().items() if "pooler" not in key}
    assert all(tensor.numpy().tobytes() in learnt for tensor in kept.values())


@pytest.mark.parametrize(
    "family", ["roberta", "distilbert", "albert", "electra", "deberta-v2", "mpnet", "bart", "modernbert"]
)
def test_logits_where_masked_are_those_of_the_whole_model(family: str) -> None:
    SOURCES["masked_lm"] = {"architecture": family}
    try:
        pretext = pretext_of("masked_lm")
    finally:
        del SOURCES["masked_lm"]
    batch = pretext.objective(TEXTS[:4], seed=1, epoch_of=lambda step: 0).batch(np.arange(4), 0)
    model: Any = pretext.model.eval().language
    with torch.no_grad():
        some = model(batch)
        whole = model.model(**{name: tensor for name, tensor in batch.items() if name in model.accepted}).logits
    torch.testing.assert_close(some, whole.flatten(0, 1)[batch["places"]])
    assert 4 <= len(some) < 0.5 * batch["input_ids"].numel()


def test_a_family_without_such_a_class_is_named() -> None:
    SOURCES["masked_lm"] = {"architecture": "xlnet"}
    try:
        with pytest.raises(
            ParamsError, match=r"a class for it \(AutoModelForMaskedLM\) .* got none for model_type 'xlnet'"
        ):
            pretext_of("masked_lm")
    finally:
        del SOURCES["masked_lm"]


def test_shares_of_what_is_shown_are_at_most_all() -> None:
    with pytest.raises(ParamsError, match="must be at most 1 together, got 0.8 and 0.4"):
        pretext_of("masked_lm", random_token_ratio=0.4)
