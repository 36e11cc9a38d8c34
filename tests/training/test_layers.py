"""Layers: which learn at which rate in every family, which do not learn, and when they begin to."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from pipeline.base_models.fold_training import build_trainee
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.models.classifier import encoder_half
from pipeline.params.encoders import Training
from pipeline.training.loop import train
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.plug_ins import plug_ins
from pipeline.units.checkpoints import Checkpoints
from tests.small import encoder, frame
from tests.training.regression import StopAt

BERT = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 16, "vocab_size": 50}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3, "num_heads": 2, "vocab_size": 50}
BART = {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "vocab_size": 50}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": BERT,
    "roberta": BERT,
    "deberta-v2": {**BERT, "relative_attention": True, "position_buckets": 4, "pos_att_type": ["p2c", "c2p"]},
    "electra": {**BERT, "embedding_size": 8},
    "albert": {**BERT, "embedding_size": 8},
    "xlnet": {"d_model": 16, "n_head": 2, "n_layer": 3, "d_inner": 16, "vocab_size": 50},
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 3, "hidden_dim": 16, "vocab_size": 50},
    "modernbert": {
        **BERT,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "cls_token_id": 1,
        "sep_token_id": 2,
    },
    "ernie": BERT,
    "mpnet": BERT,
    "t5": {**T5, "num_decoder_layers": 1},
    "bart": {
        **BART,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": 16,
    },
}
EMBEDDINGS = {
    "t5": "embed_tokens",
    "xlnet": "word_embedding",
    "bart": "embed_positions",
    "modernbert": "tok_embeddings",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_rates_per_layer_in_every_family(family: str) -> None:
    """The top layer at the rate, each below at half of it, embeddings lowest; albert's layers are one, shared."""
    backbone = encoder_half(AutoModel.from_config(AutoConfig.for_model(family, **FAMILIES[family])))
    n_layers = 1 if family == "albert" else 3
    groups = parameter_groups(backbone, nn.Linear(16, 2), Training(learning_rate=1.0, layer_decay=0.5))
    rates = {group["depth"]: group["lr"] for group in groups}
    assert rates == {**{depth: 0.5 ** (n_layers - depth) for depth in range(n_layers + 1)}, n_layers + 1: 10.0}
    depths = {id(parameter): group["depth"] for group in groups for parameter in group["params"]}
    embedding = EMBEDDINGS.get(family, "word_embeddings")
    assert [depths[id(p)] for name, p in backbone.named_parameters() if embedding in name] == [0]
    matrices = [p for group in groups if group["holds_hidden_matrices"] for p in group["params"]]
    assert matrices and all(p.ndim > 1 and 0 < depths[id(p)] <= n_layers for p in matrices)


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.ModuleDict({"stage_one": nn.Linear(2, 2), "stage_two": nn.Linear(2, 2)})


@pytest.mark.parametrize(("key", "value"), [("layer_decay", 0.9), ("unfreezing_ratio", 0.5)])
def test_layers_that_cannot_be_found_show_the_module_tree(key: str, value: float) -> None:
    message = rf"{key}: layers must be found by their names.*tower \(stage_one, stage_two\). Remove the key"
    with pytest.raises(ParamsError, match=message):
        parameter_groups(Strange(), nn.Linear(2, 2), Training(**{key: value}))


def trainee(**training: Any) -> Any:
    settings = encoder(training, n_layers=3)
    return build_trainee(rows=frame(24), n_outputs=2, settings=settings, scorer=None, seed=0)


def trained(built: Any, **arguments: Any) -> list[torch.Tensor]:
    settings, groups = built.settings, built.parameter_groups
    train(
        built.model,
        built.objective,
        groups,
        settings=settings,
        seed=1,
        device="cpu",
        **plug_ins(settings, groups),
        **arguments,
    )
    return [parameter.detach().clone() for parameter in built.model.parameters()]


@pytest.mark.parametrize(("frozen", "learns"), [(None, {0, 1, 2, 3, 4}), (0, {1, 2, 3, 4}), (2, {3, 4}), (3, {1})])
def test_frozen_layers_do_not_learn(frozen: int | None, learns: set[int]) -> None:
    """Depths are counted to the topmost layer that learns, then comes the readout."""
    built = trainee(frozen_layers=frozen)
    assert {group["depth"] for group in built.parameter_groups} == learns
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    follows = [parameter.requires_grad for parameter in built.model.parameters()]
    changed = [not torch.equal(*pair) for pair in zip(before, trained(built), strict=True)]
    assert not any(changes and not follow for changes, follow in zip(changed, follows, strict=True))
    assert sum(changed) >= 0.8 * sum(follows)  # the bias of an attention's keys changes nothing


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
def test_frozen_layers_under_gradient_checkpointing_learn_the_same() -> None:
    """The lowest layer that learns is fed by what needs no gradient."""
    saving = trained(trainee(frozen_layers=1, gradient_checkpointing=True))
    for ours, theirs in zip(saving, trained(trainee(frozen_layers=1)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_more_frozen_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(ParamsError, match="frozen_layers: must be at most 3, the layers of this encoder, got 4. Lower"):
        trainee(frozen_layers=4)


class Thawed:
    """Notes which depths learn after every step."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.groups, self.seen = groups, list[set[int]]()

    def begin(self, model: nn.Module, **_: Any) -> None:
        self.after_step(0)

    def after_step(self, step: int) -> None:
        self.seen.append({group["depth"] for group in self.groups if group["params"][0].requires_grad})

    def weights(self, evaluate: Any) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {}


def test_layers_thaw_from_the_top_evenly_over_a_share_of_the_training() -> None:
    """24 rows in batches of 3, one epoch: 8 steps, 4 of them until the embeddings learn."""
    built = trainee(batch_size=3, epochs=1, unfreezing_ratio=0.5)
    plugged, watch = plug_ins(built.settings, built.parameter_groups), Thawed(built.parameter_groups)
    plugged["hooks"].append(watch)
    train(
        built.model, built.objective, built.parameter_groups, settings=built.settings, seed=1, device="cpu", **plugged
    )
    tops = [{4}, {3, 4}, {2, 3, 4}, {1, 2, 3, 4}]
    assert watch.seen == [*tops, *[{0, 1, 2, 3, 4}] * 5]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_F1_I1_stopped_and_resumed_thawing_layers_end_in_the_same_bytes(tmp_path, stop: int) -> None:
    """Stopped before, while or after layers thaw and resumed, a training ends in the same bytes."""
    options = {"unfreezing_ratio": 0.9, "averaging": "ema", "optimizer": "lookahead"}
    expected = trained(trainee(**options))
    with pytest.raises(InterruptedRun):
        trained(trainee(**options), checkpoints=Checkpoints(tmp_path), monitor=StopAt(stop))
    resumed = trained(trainee(**options), checkpoints=Checkpoints(tmp_path))
    assert all(torch.equal(*pair) for pair in zip(resumed, expected, strict=True))


def test_nothing_is_plugged_in_where_nothing_is_switched_on() -> None:
    assert plug_ins(encoder(), []) == {"hooks": []}
