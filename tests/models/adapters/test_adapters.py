"""What every adapter keeps: it changes nothing before it learns, learns alone, comes back to the bit, and merges."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from pipeline import components
from pipeline.base_models.fold_training import build_trainee
from pipeline.checks.unit_needs import HEAD_WEIGHTS, encoder_needs
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.models.accelerators import checkpoint_gradients
from pipeline.models.classifier import WEIGHTS, TextClassifier, load_classifier
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.recipes import sources
from pipeline.training.fold_trainer import Trainee
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from tests.small import adapted, checkpoint, encoder, frame

every = pytest.mark.parametrize("name", components.available("adapters"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("bert"), "bert")


def trainee_of(settings: Encoder) -> Trainee:
    return build_trainee(rows=frame(), n_outputs=2, settings=settings, scorer=None, seed=0)


def trained(settings: Encoder, **arguments: Any) -> Trainee:
    trainee = trainee_of(settings)
    groups = trainee.parameter_groups
    arguments |= plug_ins(settings, groups)
    history = train(trainee.model, trainee.objective, groups, settings=settings, seed=0, device="cpu", **arguments)
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"], "it must learn"
    return trainee


def logits_of(model: TextClassifier, trainee: Trainee) -> torch.Tensor:
    return torch.from_numpy(predict_logits(model, trainee.objective.inputs, 1000))  # type: ignore[attr-defined]


def saved(trainee: Trainee, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    trainee.save(folder)
    return folder


@every
def test_an_adapter_changes_nothing_before_it_learns_and_then_learns_alone(name: str, base: Path) -> None:
    settings = adapted(base, adapter=name)
    trainee = trainee_of(settings)
    model: Any = trainee.model
    parts: EncoderParts = settings.source.build(max_length=16)
    batch = trainee.objective.batch(frame().index.to_numpy()[:4], 0)
    with torch.no_grad():
        plain = TextClassifier(parts.model, model.readout).eval()(batch)
        assert torch.equal(model.eval()(batch), plain)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == set(model.state_dict()), "what is kept is what learns"
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters() if parameter.requires_grad)
    of_base = {id(parameter) for parameter in model.parameters()} - {
        id(parameter) for group in trainee.parameter_groups for parameter in group["params"]
    }
    assert len(of_base) == len(list(parts.model.parameters()))


WAYS: list[tuple[str, dict[str, Any], float]] = [
    ("base", {"adapter": {"name": "lora", "dropout": 0.1, "rslora": True}}, 2e-6),
    ("bert", {"adapter": {"name": "lora", "dora": True, "targets": ["query", "value"]}, "pooling": "mean"}, 2e-6),
    ("base", {"weights": "nf4"}, 2e-6),
    ("base", {"weights": "bf16"}, 2e-2),  # its own states are rounded to bf16, those of the merged one are not
]


@pytest.mark.parametrize(("checkpoint_of", "given", "close"), WAYS, ids=["lora", "dora", "nf4", "bf16"])
def test_what_was_trained_comes_back_to_the_bit_and_merged_says_the_same(
    checkpoint_of: str, given: dict[str, Any], close: float, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trainee = trained(adapted(request.getfixturevalue(checkpoint_of), head={"name": "mlp", "hidden_size": 8}, **given))
    logits, folder = logits_of(trainee.model, trainee), saved(trainee, tmp_path)
    again, tokenizer = load_classifier(folder)
    assert torch.equal(logits_of(again, trainee), logits), "the head too (peft#310, #577)"
    assert set(load_file(folder / WEIGHTS)) == set(trainee.model.state_dict())
    assert any(name.startswith("readout.head") for name in again.state_dict()) and tokenizer.is_fast
    merged, _ = load_classifier(folder, merged=True)
    assert not [name for name in merged.state_dict() if "lora" in name or "base_layer" in name]
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.float32}
    torch.testing.assert_close(logits_of(merged, trainee), logits, rtol=0, atol=close)
    assert (logits - logits.mean(dim=0)).abs().max() > 10 * close, "all rows get the same: this test compares nothing"
    plain: EncoderParts = components.load("encoders", "pretrained", "restore")(folder=folder)
    plain.model.load_state_dict(merged.backbone.state_dict())  # as a bundle does


def test_a_head_that_is_not_in_the_file_is_an_error_and_no_new_head(base: Path, tmp_path: Path) -> None:
    folder = saved(trainee_of(adapted(base)), tmp_path)
    tensors = load_file(folder / WEIGHTS)
    lost = next(name for name in tensors if name.startswith("readout.head"))
    del tensors[lost]
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(RuntimeError, match=lost):
        load_classifier(folder)


def test_a_fold_takes_less_than_a_tenth_of_a_full_one(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", hidden_size=128, n_heads=4, n_layers=3)
    full = adapted(base).model_copy(update={"adapter": None})
    sizes = []
    for name, settings in (("lora", adapted(base, adapter={"name": "lora", "rank": 4})), ("full", full)):
        folder = saved(trainee_of(settings), tmp_path / name)
        sizes.append(sum(file.stat().st_size for file in folder.iterdir()))
    assert sizes[0] < 0.1 * sizes[1]
    needs = [
        encoder_needs("x", settings, [("t", 0, 0)], run=Run(device="cpu"), seed=0, recipe={})[0]
        for settings in (adapted(base, adapter={"name": "lora", "rank": 4}, weights="nf4"), full)
    ]
    head = 4 * HEAD_WEIGHTS * 128
    assert needs[0].model - head < 0.1 * (needs[1].model - head) and needs[0].memory < needs[1].memory


def test_targets_that_match_no_layer_are_named_with_those_that_there_are(base: Path) -> None:
    there = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    for targets, got in ((["query", "q_proj"], "got query"), (["embed_tokens"], "got embed_tokens"), ([], "got none")):
        message = f"adapter: targets must be linear layers of Qwen3Model, {got}. There are: {there}. Name some"
        with pytest.raises(ParamsError, match=message):
            trainee_of(adapted(base, adapter={"name": "lora", "targets": targets}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, "rank: must be greater than or equal to 1, got 0"),
        ({"alpha": 0}, "alpha: must be greater than 0, got 0"),
        ({"dropout": 1.0}, "dropout: must be less than 1, got 1.0"),
        ({"targets": "some-linear"}, "targets: must be 'all-linear' or a valid list"),
    ],
)
def test_P2_options_of_lora_are_in_their_ranges(options: dict[str, Any], said: str) -> None:
    """Options of an adapter out of their range are refused before anything is loaded."""
    with pytest.raises(ValidationError, match=said):
        adapted(Path("models/none"), adapter={"name": "lora", **options})


def test_without_peft_the_way_to_it_is_said(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ParamsError, match="adapter: lora needs peft, got .*`pip install peft`"):
        trainee_of(adapted(base))

    def missing(library: str) -> str:
        raise sources.PackageNotFoundError(library)

    monkeypatch.setattr(sources, "version", missing)
    with pytest.raises(ParamsError, match="adapters: lora needs peft. `pip install peft`"):
        sources.library_versions([Component(kind="adapters", name="lora")])
    nf4 = adapted(base, weights="nf4").source
    with pytest.raises(ParamsError, match="encoders: pretrained needs bitsandbytes. `pip install bitsandbytes`"):
        sources.library_versions([nf4])
    assert sources.library_versions([adapted(base).source]) == {}


@pytest.mark.parametrize("why", ["not installed", "no kernel"])
def test_P6_four_bits_where_they_cannot_be_are_refused_before_a_model_is_loaded(
    base: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4-bit weights where bitsandbytes is missing or does not run say so, and what to take, before any weight is read."""

    def no_kernel(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no kernel image is available")

    if why == "not installed":
        monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    else:
        monkeypatch.setattr("bitsandbytes.functional.quantize_4bit", no_kernel)
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(
        ParamsError, match="source: weights: nf4 needs a bitsandbytes that runs on this .*bf16"
    ) as caught:
        trainee_of(adapted(base, weights="nf4"))
    assert caught.value.code == "E204"


CRAFT: list[dict[str, Any]] = [
    {"adversarial": {"name": "fgm", "moves": "vectors"}, "layer_decay": 0.8, "unfreezing_ratio": 0.5},
    {"adversarial": "awp", "optimizer": "schedule_free", "schedule": "constant"},
]


@pytest.mark.parametrize("craft", CRAFT, ids=["fgm", "awp"])
def test_what_training_offers_goes_on_over_a_frozen_base(base: Path, craft: dict[str, Any]) -> None:
    trainee = trained(adapted(base, epochs=4, **craft))
    kept = dict(adapted(base).source.build(max_length=16).model.named_parameters())
    of_base = {
        name.replace("base_layer.", ""): parameter
        for name, parameter in trainee.model.backbone.named_parameters()  # type: ignore[union-attr]
        if "lora_" not in name
    }
    assert of_base.keys() == kept.keys() and all(torch.equal(of_base[name], kept[name]) for name in kept)
    assert all(parameter.requires_grad for group in trainee.parameter_groups for parameter in group["params"])


def test_few_activations_give_the_same_gradients(base: Path) -> None:
    gradients = []
    for few in (False, True):
        trainee = trainee_of(adapted(base, gradient_checkpointing=few))
        if few:
            checkpoint_gradients(trainee.model)
        batch = trainee.objective.batch(frame().index.to_numpy()[:4], 0)
        trainee.objective.loss_sums(trainee.model.train(), batch, 0.0)["loss"].backward()
        gradients.append([p.grad for group in trainee.parameter_groups for p in group["params"]])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(gradient.abs().max() > 0 for gradient in gradients[0][:-2]), "those of the adapter"


def test_its_size_is_about_what_was_forecast() -> None:
    settings = encoder(architecture="bert", hidden_size=64, n_layers=3)
    model = settings.source.build(texts=["a b"], max_length=16, seed=0).model
    lora = Component(kind="adapters", name="lora", options={"rank": 4})
    lora.build(model=model, seed=0)
    truth = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert lora.call("n_parameters", n_layers=3, width=64) == pytest.approx(truth, rel=0.25)
