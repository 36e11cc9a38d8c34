"""What every pretext must keep: it learns, rows do not depend on one another, what is saved loads, a kill changes nothing."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.params.encoders import Pretraining
from pipeline.pretrain.language_model import start_of
from pipeline.pretrain.pretext import Masking, Pretext, Start
from pipeline.reproducibility import fixed_numerics
from pipeline.training.loop import train
from pipeline.training.parameter_groups import parameter_groups
from pipeline.units.checkpoints import Checkpoints
from tests.small import TEXTS as CLAUSES
from tests.small import encoder
from tests.training.regression import StopAt

LENGTH = 24
TEXTS = [f"{first}. {second}." for first, second in zip(CLAUSES[:40], CLAUSES[40:80], strict=True)] + ["cat", "公园"]
# The family that learns it; any other one of transformers' masked language models where none is named.
FAMILIES = {"infilling": "bart", "permutation_lm": "xlnet", "causal_lm": "gpt2"}
ALL = components.available("pretexts")
SPANS = Masking(survival=(1.0, 0.5, 0.25))


@cache
def start(family: str) -> Start:
    """Return a model of one layer, always with the same weights, and a tokenizer of the texts."""
    config = {"bart": {"d_model": 16, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}}.get(
        family, {}
    )
    return start_of(encoder(architecture=family, config=config).source, texts=TEXTS, max_length=LENGTH, seed=1)


def pretext(name: str, *, family: str | None = None, masking: Masking = SPANS, **options: Any) -> Pretext:
    begin = start(family or FAMILIES.get(name, "bert"))
    offered = {"start": begin, "masking": masking, "mask_ratio": 0.2, "max_length": LENGTH, "seed": 3}
    built: Pretext = components.build("pretexts", name, options, **offered)
    return built


def losses_of(learnt: Pretext, objective: Any, rows: list[int]) -> dict[str, tuple[float, float]]:
    """Return the sums of the losses of rows in one batch, and over how many items they go."""
    batch = objective.batch(np.array(rows), 0)
    weights = objective.weights(batch)
    with torch.no_grad():
        sums = objective.loss_sums(learnt.model.eval(), batch, 0.0)
    return {name: (float(total), weights[name]) for name, total in sums.items()}


@pytest.mark.parametrize("name", ALL)
def test_a_rows_part_of_a_batch_is_the_same_alone_and_with_others(name: str) -> None:
    learnt = pretext(name)
    objective = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: step)
    assert len(objective.lengths) == len(TEXTS)
    together = losses_of(learnt, objective, [7, 2, 41, 30])
    apart = [losses_of(learnt, objective, [row]) for row in (2, 7, 30, 41)]
    for loss, (total, n_items) in together.items():
        np.testing.assert_allclose(total, sum(part[loss][0] for part in apart), rtol=1e-4)
        assert n_items == pytest.approx(sum(part[loss][1] for part in apart))


@pytest.mark.parametrize("name", ALL)
def test_a_pretext_is_learnt_measured_and_loads_elsewhere_as_an_encoder(name: str, tmp_path: Path) -> None:
    learnt = pretext(name)
    objective = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: 0)
    batch = objective.batch(np.arange(16), 0)
    optimizer = torch.optim.Adam(learnt.model.parameters(), lr=0.01)
    weights, losses = objective.weights(batch), []
    for _ in range(25):
        torch.manual_seed(0)
        sums = objective.loss_sums(learnt.model, batch, 0.0)
        means = {of: sums[of] / weights[of] for of in sums}
        optimizer.zero_grad()
        torch.stack(list(means.values())).sum().backward()
        assert all(torch.isfinite(part.grad).all() for part in learnt.model.parameters() if part.grad is not None)
        optimizer.step()
        losses.append({of: mean.item() for of, mean in means.items()})
    assert all(losses[-1][of] < losses[0][of] for of in losses[0]), losses
    with torch.no_grad():
        scores = learnt.score_sums(batch)
    assert all(0 <= float(total) <= n_items for of, (total, n_items) in scores.items() if "loss" not in of)
    assert float(scores["loss"][0]) > 0
    learnt.save(tmp_path)
    loaded, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not [missing for missing in report["missing_keys"] if "pooler" not in missing]
    trained = {key: tensor for key, tensor in learnt.model.state_dict().items() if "generator" not in key}
    for key, tensor in loaded.state_dict().items():
        if "pooler" not in key:
            assert any(torch.equal(tensor, other) for at, other in trained.items() if at.endswith(key)), key


@pytest.mark.parametrize("name", ALL)
def test_F2_a_pretext_that_is_stopped_and_resumed_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    """Asked to stop amid an epoch, a pre-training writes a checkpoint; resumed, its bits are those of one left alone."""
    settings = Pretraining.model_validate({"epochs": 2, "batch_size": 16, "held_out_ratio": 0.0}).training

    def trained(**given: Any) -> dict[str, torch.Tensor]:
        learnt = pretext(name)
        objective = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: step // 3)
        groups = parameter_groups(learnt.model, torch.nn.Module(), settings)
        with fixed_numerics(1, on_gpu=False):
            train(learnt.model, objective, groups, settings=settings, seed=9, device="cpu", **given)
        return learnt.model.state_dict()

    undisturbed = trained()
    with pytest.raises(InterruptedRun):
        trained(checkpoints=Checkpoints(tmp_path), monitor=StopAt(4))
    resumed = trained(checkpoints=Checkpoints(tmp_path))
    assert all(torch.equal(tensor, undisturbed[key]) for key, tensor in resumed.items())


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: pretext("causal_lm", family="bert"), r"must be a decoder, .* got .* 'bert'.* Take a decoder"),
        (lambda: pretext("causal_lm", family="bart"), r"must be a decoder, .* got .* 'bart'.* Take a decoder"),
        (lambda: pretext("permutation_lm", family="gpt2"), r"in any order .*got model_type 'gpt2'\. Take a source of the"),
        (lambda: pretext("unified_lm", family="xlnet"), r"has no class|must have a class|which token reads which"),
        (lambda: pretext("unified_lm", family="deberta-v2"), r"which token reads which .* got model_type 'deberta-v2'"),
        (lambda: pretext("infilling", family="bert"), r"must have a class for it \(AutoModelForSeq2SeqLM\)"),
        (lambda: pretext("replaced_tokens", family="bart"), r"an encoder by itself .*'bart' has a decoder too"),
        (lambda: pretext("span_boundary", masking=Masking()), r"masking: must mask spans of several units .* one by one"),
    ],
)  # fmt: skip
def test_a_family_or_masking_that_a_pretext_cannot_be_learnt_with_is_refused(
    build: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        build()
