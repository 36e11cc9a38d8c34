"""Mixout against its formula, layers that begin anew, several samples of dropout; that they resume, and that off is off."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.models.classifier import encoder_half, load_classifier, save_classifier
from pipeline.training.loop import train
from pipeline.training.parameter_groups import layers_of, parameter_groups
from pipeline.training.pretrained_weights import Mixout, add_mixout, regularise, reinitialise, remove_mixout
from pipeline.units.checkpoints import Checkpoints
from tests.small import TEXTS, encoder
from tests.training.objectives.test_objectives import _parts_of, labelled, model_of, rows_of, settings_of
from tests.training.regression import StopAt, weights


def test_mixout_is_its_formula_and_keeps_the_expectation() -> None:
    weight, pretrained = torch.randn(300, 200), torch.randn(300, 200)
    mixout = Mixout(pretrained, 0.7)
    torch.manual_seed(5)
    mixed = mixout(weight)
    torch.manual_seed(5)
    mask = torch.empty_like(weight).bernoulli_(0.7)
    torch.testing.assert_close(mixed, (mask * pretrained + (1 - mask) * weight - 0.7 * pretrained) / (1 - 0.7))
    assert float((mixed - weight).mean()) == pytest.approx(0.0, abs=0.03)
    assert torch.equal(mixout.eval()(weight), weight)
    same = Mixout(weight, 0.7)
    torch.testing.assert_close(same(weight), weight)


def test_mixout_of_the_pretrained_weights_changes_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    model = model_of().eval()
    batch = rows_of().batch(np.arange(6))
    logits, names = model(batch), list(model.state_dict())
    add_mixout(model.backbone, 0.5)
    torch.testing.assert_close(model(batch), logits)
    [query, *_] = [module for module in model.backbone.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        query.parametrizations.weight.original.add_(0.1)  # type: ignore[union-attr, operator]
    moved = model(batch)
    remove_mixout(model)
    assert sorted(model.state_dict()) == sorted(names) and torch.equal(model(batch), moved)
    save_classifier(model, _parts_of("bert").tokenizer, tmp_path, source="from_config")
    assert torch.equal(load_classifier(tmp_path)[0](batch), moved)


@pytest.mark.parametrize("family", ["bert", "albert", "xlnet", "t5", "modernbert"])
def test_the_top_layers_begin_anew_and_no_other_does(family: str, tmp_path: Path) -> None:
    """Also those of a checkpoint, whose weights transformers guards."""
    settings = encoder(architecture=family, n_layers=3)
    parts = settings.source.build(texts=TEXTS, max_length=16, seed=0)
    parts.model.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    source = type(settings).model_validate({"source": {"name": "pretrained", "path": str(tmp_path)}}).source
    backbone = encoder_half(source.build(texts=[], max_length=16, seed=0).model)
    before, n_layers = copy.deepcopy(backbone.state_dict()), len(layers_of(backbone, "reinit_layers"))
    assert n_layers == (1 if family == "albert" else 3)
    n_new = min(2, n_layers)
    reinitialise(backbone, n_new, seed=4)
    changed = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    top = layers_of(backbone, "reinit_layers")[n_layers - n_new :]
    of_top = {id(parameter) for layer in top for parameter in layer.parameters()}
    mine = {name: parameter for name, parameter in backbone.named_parameters() if id(parameter) in of_top}
    assert (
        {name for name, parameter in mine.items() if parameter.ndim > 1 and "bias" not in name} <= changed <= set(mine)
    )
    again = copy.deepcopy(backbone.state_dict())
    reinitialise(backbone, n_new, seed=4)
    assert all(torch.equal(tensor, again[name]) for name, tensor in backbone.state_dict().items())


def test_more_layers_than_there_are_are_refused() -> None:
    with pytest.raises(ParamsError, match="reinit_layers: must be at most 1, the layers of BertModel, got 2. Lower it"):
        regularise(model_of(), settings_of(reinit_layers=2), seed=0)


def test_mixout_without_linear_layers_is_refused() -> None:
    with pytest.raises(ParamsError, match="mixout: must have linear layers, got none in Embedding. Set it to 0"):
        add_mixout(nn.Embedding(3, 2), 0.3)


@pytest.mark.parametrize("head", ["linear", "text_cnn"])
def test_dropout_samples_are_averaged_in_training_alone(head: str) -> None:
    model = model_of(head=head)
    regularise(model, settings_of(head=head, dropout_samples=3), seed=0)
    batch = rows_of().batch(np.arange(6))
    plainly = copy.deepcopy(model)
    plainly.readout.dropout_samples = 1  # type: ignore[assignment]
    assert torch.equal(model.eval()(batch), plainly.eval()(batch))
    states = model.hidden_states(batch)
    for readout in (model.readout, plainly.readout):
        readout.train()
    torch.manual_seed(0)
    mean = model.readout(states, batch["attention_mask"])
    torch.manual_seed(0)
    each = [plainly.readout(states, batch["attention_mask"]) for _ in range(3)]
    torch.testing.assert_close(mean, torch.stack(each).mean(dim=0))
    assert not torch.equal(each[0], each[1])


def trained(tmp_path: Path | None = None, stop: int | None = None, **options: Any) -> torch.Tensor:
    model, settings = model_of(), settings_of(**options)
    regularise(model, settings, seed=1)
    groups = parameter_groups(model.backbone, model.readout, settings)
    plugs = {"checkpoints": Checkpoints(tmp_path) if tmp_path else None, "monitor": StopAt(stop) if stop else None}
    train(model, labelled(name="supervised"), groups, settings=settings, seed=3, device="cpu", **plugs)  # type: ignore[arg-type]
    remove_mixout(model)
    return weights(model)


@pytest.mark.parametrize(
    "options", [{"mixout": 0.5}, {"reinit_layers": 1}, {"dropout_samples": 3}], ids=lambda options: next(iter(options))
)
def test_stopped_and_resumed_the_weights_are_bit_equal(options: dict[str, Any], tmp_path: Path) -> None:
    options = {"learning_rate": 1e-3, "layer_decay": 0.9, **options}
    with pytest.raises(InterruptedRun):
        trained(tmp_path, 4, **options)
    whole = trained(**options)
    assert torch.equal(trained(tmp_path, **options), whole)
    assert not torch.equal(whole, trained(learning_rate=1e-3, layer_decay=0.9))


def test_off_they_leave_a_model_alone() -> None:
    model, untouched = model_of(), model_of()
    regularise(model, settings_of(), seed=1)
    assert list(model.state_dict()) == list(untouched.state_dict())
    assert torch.equal(weights(model), weights(untouched)) and "dropout_samples" not in vars(untouched.readout)
