"""Objectives against numbers worked by hand, against the plain loss where they must equal it, and in the loop."""

import copy
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from pipeline import components
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import DataError, InterruptedRun
from pipeline.models.batching import Encoded, encode_rows
from pipeline.models.classifier import TextClassifier, build_classifier, special_ids
from pipeline.params.encoders import Encoder
from pipeline.training.classification import Classification, WithUnlabelled
from pipeline.training.divergences import symmetric_kl
from pipeline.training.loop import train
from pipeline.training.objectives import mixup, token_cutoff, uda
from pipeline.units.checkpoints import Checkpoints
from tests.small import TEXTS, encoder, frame
from tests.training.regression import StopAt

FAMILIES = ["bert", "roberta", "electra", "roformer", "distilbert", "albert", "deberta-v2", "bart", "word_vectors"]
# Every family, heads that read a vector and heads that read tokens in turn; recurrent ones want padding on the right.
COMBINED = [(family, ("linear", "text_cnn")[i % 2]) for i, family in enumerate(FAMILIES)]
COMBINED += [("bert", "text_cnn"), ("roberta", "bilstm"), ("word_vectors", "bilstm")]
KINDS: dict[str, dict[str, Any]] = {
    "supervised": {"name": "supervised"},
    "mixup_last": {"name": "mixup", "alpha": 1.0},
    "mixup_embeddings": {"name": "mixup", "alpha": 1.0, "layer": "embeddings"},
    "cutoff_token": {"name": "token_cutoff", "n_views": 2},
    "cutoff_span": {"name": "token_cutoff", "mode": "span", "ratio": 0.3},
    "cutoff_feature": {"name": "token_cutoff", "mode": "feature"},
    "supervised_contrastive": {"name": "supervised_contrastive"},
    "r_drop": {"name": "r_drop"},
    "uda": {"name": "uda", "tsa": "linear", "ratio": 2, "confidence": 0.3},
}
of_families = pytest.mark.parametrize("family", FAMILIES)
of_kinds = pytest.mark.parametrize("kind", KINDS)


def settings_of(family: str = "bert", head: str = "linear", **training: Any) -> Encoder:
    if family != "word_vectors":
        return encoder({"head": head, **training}, architecture=family)
    source = {"name": "word_vectors", "hidden_size": 16, "vector_size": 8, "vector_epochs": 1}
    return Encoder.model_validate({"source": source, "max_length": 16, "head": head, "batch_size": 8, **training})


@cache
def _parts_of(family: str) -> EncoderParts:
    return settings_of(family).source.build(texts=TEXTS, max_length=16, seed=0)


def model_of(family: str = "bert", head: str = "linear", n_outputs: int = 2) -> TextClassifier:
    settings, parts = settings_of(family, head), _parts_of(family)
    fresh = EncoderParts(copy.deepcopy(parts.model), parts.tokenizer)
    return build_classifier(fresh, pooling=settings.pooling, head=settings.head, n_outputs=n_outputs, seed=1)


@cache
def rows_of(family: str = "bert", n: int = 24) -> Encoded:
    """Return rows of different lengths."""
    rows = frame(n)
    rows["text"] = [text if i % 3 else text[: 12 + i % 7] for i, text in enumerate(rows["text"])]
    return encode_rows(_parts_of(family).tokenizer, rows, settings_of(family))


def built(loss: str = "cross_entropy", n_outputs: int = 2, **options: Any) -> Any:
    name = options.pop("name")
    rowwise = components.build("losses", loss, n_outputs=n_outputs)
    return components.build("objectives", name, options, loss=rowwise, n_outputs=n_outputs)


def labelled(family: str = "bert", n: int = 24, **options: Any) -> Classification | WithUnlabelled:
    """Return what the loop trains: labelled rows and, for objectives that read them, unlabelled ones."""
    objective = built(**options)
    ids = special_ids(_parts_of(family).tokenizer)
    labels = torch.tensor(frame(n)["label"].tolist())
    rows = Classification(rows_of(family, n), labels, objective, ids)
    if components.constant("objectives", options["name"], "READS") != "unlabelled":
        return rows
    return WithUnlabelled(rows, *_unlabelled(family), objective.ratio, seed=5)


@cache
def _unlabelled(family: str) -> list[Encoded]:
    """Return the rows and their variants."""
    parts, settings = _parts_of(family), settings_of(family)
    return [encode_rows(parts.tokenizer, frame(70)[first : first + 30], settings) for first in (30, 40)]


def loss_of(model: nn.Module, trained: Any, rows: range = range(9), progress: float = 0.5) -> torch.Tensor:
    """Return the loss of rows, whatever was drawn before."""
    batch = trained.batch(np.array(rows), 3)
    torch.manual_seed(0)
    return trained.loss_sums(model, batch, progress)["loss"]


def gradient(model: nn.Module) -> torch.Tensor:
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat([grad.flatten() for grad in grads])


class Fixed(nn.Module):
    """Gives the logits that the batch carries, and remembers for which inputs gradients were wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.followed: list[bool] = []

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.followed.append(torch.is_grad_enabled())
        return batch["logits"] * self.scale


def log(*rows: list[float]) -> torch.Tensor:
    """Return logits of rows of probabilities."""
    return torch.tensor(rows).log()


# --- supervised


ROW_LOSSES = [
    name
    for name in components.available("losses")
    if components.needed("losses", name) <= {"n_outputs"}
    and "class" in (components.constant("losses", name, "FORMS") or ["class"])
]


@pytest.mark.parametrize("loss", ROW_LOSSES)
def test_supervised_is_the_sum_of_the_rows_losses_bit_for_bit(loss: str) -> None:
    model, trained = model_of(), labelled(name="supervised", loss=loss)
    batch = rows_of().batch(np.arange(9))
    torch.manual_seed(0)
    labels = torch.tensor(frame(9)["label"].tolist())
    plain = components.build("losses", loss, n_outputs=2)(model(batch), labels).sum()
    assert torch.equal(loss_of(model, trained), plain)


# --- in general


@pytest.mark.parametrize(("family", "head"), COMBINED)
@of_kinds
def test_gradients_are_finite_in_every_family_with_every_head(family: str, head: str, kind: str) -> None:
    model = model_of(family, head).train()
    loss = loss_of(model, labelled(family, **KINDS[kind]))
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(gradient(model)).all()
    assert gradient(model).abs().sum() > 0


@of_kinds
def test_a_single_row_and_an_empty_text_are_no_trouble(kind: str) -> None:
    model, trained = model_of(head="text_cnn"), labelled(**KINDS[kind])
    assert torch.isfinite(loss_of(model, trained, range(1)))
    rows = frame(3).assign(text=["", "the cat", "🙂"])
    encoded = encode_rows(_parts_of("bert").tokenizer, rows, settings_of())
    inner = trained.objective if isinstance(trained, WithUnlabelled) else trained
    empty = Classification(encoded, inner.labels, inner.objective, inner.special_ids)
    again = WithUnlabelled(empty, encoded, encoded, 2, 0) if isinstance(trained, WithUnlabelled) else empty
    assert torch.isfinite(loss_of(model, again, range(3)))


@of_kinds
def test_under_bf16_the_loss_is_computed_in_float32(kind: str) -> None:
    model, trained = model_of().train(), labelled(**KINDS[kind])
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, trained)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(gradient(model)).all()


@of_kinds
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    plain, trained = model_of(head="text_cnn").train(), labelled(**KINDS[kind])
    saving = copy.deepcopy(plain)
    saving.backbone.gradient_checkpointing_enable()
    for model in (plain, saving):
        loss_of(model, trained).backward()
    torch.testing.assert_close(gradient(saving), gradient(plain))


@of_kinds
@pytest.mark.parametrize("family", ["bert", "word_vectors"])
def test_the_model_is_left_as_it_was(kind: str, family: str) -> None:
    model = model_of(family).eval()
    batch = rows_of(family).batch(np.arange(4))
    before = model(batch)
    loss_of(model, labelled(family, **KINDS[kind]))
    assert torch.equal(model(batch), before) and not model.training


def trained_weights(model: TextClassifier, trained: Any, **arguments: Any) -> torch.Tensor:
    settings = settings_of(tokens_per_micro_batch=300, **arguments.pop("training", {}))
    groups = [{"params": list(model.parameters()), "lr": 5e-3, "weight_decay": 0.0}]
    train(model, trained, groups, settings=settings, seed=3, device="cpu", **arguments)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@of_kinds
def test_stopped_and_resumed_the_weights_are_bit_equal(kind: str, tmp_path) -> None:
    trained = labelled(**KINDS[kind])
    undisturbed = trained_weights(model_of(), trained)
    with pytest.raises(InterruptedRun):
        trained_weights(model_of(), trained, checkpoints=Checkpoints(tmp_path), monitor=StopAt(4))
    assert torch.equal(trained_weights(model_of(), trained, checkpoints=Checkpoints(tmp_path)), undisturbed)


@of_kinds
def test_it_learns_what_can_be_learnt(kind: str) -> None:
    model, trained = model_of(head="text_cnn"), labelled(**KINDS[kind])
    trained_weights(model, trained, training={"epochs": 10})
    right = model.eval()(rows_of().batch(np.arange(24))).argmax(dim=1) == torch.tensor(frame(24)["label"].tolist())
    seen = torch.tensor(["天气" in text and bool(i % 3) for i, text in enumerate(frame(24)["text"])])
    assert right[seen].float().mean() > 0.8


@pytest.mark.parametrize("kind", ["supervised", "r_drop", "uda"])
@pytest.mark.parametrize("progress", [0.0, 0.3])
def test_micro_batches_add_up_to_the_gradient_of_one_batch(kind: str, progress: float) -> None:
    trained, rows = labelled(**KINDS[kind]), np.arange(12)
    whole = model_of(head="text_cnn").eval()
    parts = copy.deepcopy(whole)
    trained.loss_sums(whole, trained.batch(rows, 3), progress)["loss"].backward()
    for some in (rows[:1], rows[1:8], rows[8:]):
        trained.loss_sums(parts, trained.batch(some, 3), progress)["loss"].backward()
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-4, atol=1e-6)


# --- mixup


@pytest.mark.parametrize(("family", "head"), COMBINED)
@pytest.mark.parametrize("layer", ["last", "embeddings"])
def test_mixup_that_keeps_all_of_the_row_is_supervised(family: str, head: str, layer: str, monkeypatch) -> None:
    monkeypatch.setattr(mixup, "draw_shares", lambda n_rows, alpha: torch.ones(n_rows))
    model = model_of(family, head).eval()
    mixed = loss_of(model, labelled(family, name="mixup", layer=layer))
    assert torch.equal(mixed, loss_of(model, labelled(family, name="supervised")))


def test_mixed_vectors_under_a_linear_head_give_the_mixed_logits(monkeypatch) -> None:
    shares = torch.tensor([0.75, 0.5, 1.0, 0.9])
    monkeypatch.setattr(mixup, "draw_shares", lambda n_rows, alpha: shares)
    model, trained = model_of().eval(), labelled(name="mixup")
    batch = trained.batch(np.arange(4), 0)
    torch.manual_seed(7)
    loss = trained.loss_sums(model, batch, 0.0)["loss"]
    torch.manual_seed(7)
    partner = torch.randperm(4)
    logits = model(batch)
    between = shares[:, None] * logits + (1 - shares[:, None]) * logits[partner]
    log_probabilities = between.log_softmax(dim=1)
    mine, theirs = (-log_probabilities[range(4), batch["labels"][rows]] for rows in (torch.arange(4), partner))
    torch.testing.assert_close(loss, (shares * mine + (1 - shares) * theirs).sum())


@pytest.mark.parametrize("layer", ["last", "embeddings"])
@pytest.mark.parametrize("head", ["linear", "bilstm"])
def test_a_row_mixed_with_its_own_copy_is_supervised(layer: str, head: str) -> None:
    model, trained = model_of(head=head).eval(), labelled(name="mixup", layer=layer, alpha=9.0)
    loss = loss_of(model, trained, [5] * 4)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, loss_of(model, labelled(name="supervised"), [5] * 4))  # type: ignore[arg-type]


def test_mixed_embeddings_equal_what_the_encoder_makes_of_mixed_vectors() -> None:
    model = model_of().eval()
    batch = rows_of().batch(np.array([1, 3]))  # of which the second is shorter
    share, partner, mask = torch.tensor([0.7, 0.6]), torch.tensor([1, 0]), batch["attention_mask"]
    assert mask[1].sum() < mask[0].sum() == mask.shape[1]
    vectors = model.backbone.get_input_embeddings()(batch["input_ids"]) * mask.unsqueeze(-1)
    mixed = torch.stack([0.7 * vectors[0] + 0.3 * vectors[1], 0.6 * vectors[1] + 0.4 * vectors[0]])
    both = torch.ones_like(mask)
    states = model.backbone(inputs_embeds=mixed, attention_mask=both, output_hidden_states=True).hidden_states
    torch.testing.assert_close(mixup.mixed_embeddings(model, batch, partner, share), model.readout(states, both))


def test_a_tokens_head_reads_the_tokens_of_both_rows() -> None:
    seen: list[torch.Tensor] = []
    model = model_of(head="text_cnn").eval()
    model.readout.head.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    batch = rows_of().batch(np.array([1, 3]))
    n_first, n_second = batch["attention_mask"].sum(dim=1).tolist()
    mixup.mixed_last(model, batch, torch.tensor([1, 0]), torch.tensor([0.7, 1.0]))
    states, mask = seen
    assert mask.sum(dim=1).tolist() == [n_first, n_second]
    mixup.mixed_last(model, batch, torch.tensor([1, 0]), torch.tensor([0.7, 0.9]))
    assert seen[3].sum(dim=1).tolist() == [n_first, n_first]
    hidden = model.hidden_states(batch)[-1]
    torch.testing.assert_close(states[0, n_second:], 0.7 * hidden[0, n_second:])
    torch.testing.assert_close(states[0, :n_second], (0.7 * hidden[0] + 0.3 * hidden[1])[:n_second])


@pytest.mark.parametrize(("alpha", "mean"), [(1e-3, 1.0), (1.0, 0.75), (1e4, 0.5)])
def test_shares_are_of_the_beta_distribution_and_favour_the_row(alpha: float, mean: float) -> None:
    torch.manual_seed(0)
    shares = mixup.draw_shares(4000, alpha)
    assert shares.dtype == torch.float32 and bool(((shares >= 0.5) & (shares <= 1)).all())
    assert float(shares.mean()) == pytest.approx(mean, abs=0.02)


# --- token_cutoff


@pytest.mark.parametrize("family", ["bert", "word_vectors"])
@pytest.mark.parametrize("mode", ["token", "span", "feature"])
def test_cutoff_of_nothing_is_supervised_without_divergence(family: str, mode: str) -> None:
    model = model_of(family).eval()
    plain = loss_of(model, labelled(family, name="supervised"))
    for alpha, expected in ((0.0, plain), (1.0, 2 * plain)):
        cut = labelled(family, name="token_cutoff", mode=mode, ratio=0.0, n_views=2, alpha=alpha)
        torch.testing.assert_close(loss_of(model, cut), expected)


@of_families
@pytest.mark.parametrize("mode", ["token", "feature"])
def test_a_cut_reaches_the_prediction_of_every_family(family: str, mode: str) -> None:
    model = model_of(family).eval()
    batch = rows_of(family).batch(np.arange(9))
    words = batch["attention_mask"] == 1
    with model.changed_embeddings(lambda vectors: token_cutoff.cut(vectors, words, mode=mode, ratio=0.3)):
        cut = model(batch)
    assert bool(((cut - model(batch)).abs().amax(dim=1) > 1e-4).all())


@pytest.mark.parametrize("n_outputs", [2, 5])
def test_the_divergence_is_that_of_jensen_and_shannon(n_outputs: int) -> None:
    first, second = torch.randn(2, 6, n_outputs, generator=torch.Generator().manual_seed(0)) * 3
    expected = jensenshannon(first.softmax(1).double(), second.softmax(1).double(), axis=1) ** 2
    np.testing.assert_allclose(token_cutoff.divergence([first, second]), expected, rtol=1e-4)
    # (0.9, 0.1) and (0.1, 0.9): ln 2 less the entropy of (0.9, 0.1).
    by_hand = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert token_cutoff.divergence([log([0.9, 0.1]), log([0.1, 0.9])]).item() == pytest.approx(by_hand)


def test_the_divergence_of_three_predictions_is_the_mean_over_them() -> None:
    # Two certain of one label, one of the other: the mean is (2/3, 1/3).
    certain = torch.tensor([[80.0, 0.0]])
    expected = (2 * math.log(3 / 2) + math.log(3)) / 3
    assert token_cutoff.divergence([certain, certain, -certain]).item() == pytest.approx(expected)


def test_the_divergence_of_opposite_certainties_has_a_finite_gradient() -> None:
    logits = torch.tensor([[500.0, 0.0, -500.0]], requires_grad=True)
    token_cutoff.divergence([logits, -logits, 0 * logits]).sum().backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("ratio", "n_drawn"), [(0.0, [0, 0, 0, 0]), (0.1, [1, 1, 0, 0]), (0.5, [5, 1, 0, 0]), (0.99, [9, 1, 0, 0])]
)
def test_a_share_of_the_words_is_drawn_rounded_up_and_one_stays(
    together: bool, ratio: float, n_drawn: list[int]
) -> None:
    words = torch.zeros(4, 14, dtype=torch.bool)
    words[0, 2:7] = words[0, 8:13] = words[1, 3:5] = words[2, 1] = True  # ten words around a separator, two, one, none
    drawn = torch.zeros(4, 14, dtype=torch.int64)
    for seed in range(60):
        torch.manual_seed(seed)
        once = token_cutoff.draw(words, ratio=ratio, together=together)
        assert once.sum(dim=1).tolist() == n_drawn and not bool((once & ~words).any())
        number = once[0][words[0]].nonzero().flatten()
        assert not together or number.diff().eq(1).all()
        drawn += once
    if ratio == 0.5:
        assert bool((drawn[0][words[0]] > 0).all())


def test_special_tokens_and_padding_keep_their_vectors_and_words_lose_them() -> None:
    rows = frame(6).assign(text_pair="near the river")
    tokenizer = _parts_of("bert").tokenizer
    encoded = encode_rows(tokenizer, rows, settings_of())
    labels = torch.zeros(6, dtype=torch.int64)
    batch = Classification(encoded, labels, None, special_ids(tokenizer)).batch(np.arange(6), 0)
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    expected = [[int(i) in special for i in row] for row in batch["input_ids"]]
    assert batch["special_tokens_mask"].tolist() == expected and sum(map(sum, expected)) == 18
    words = (batch["attention_mask"] == 1) & ~batch["special_tokens_mask"]
    for mode in ("token", "span"):
        cut = token_cutoff.cut(torch.ones(*words.shape, 3), words, mode=mode, ratio=0.9)
        erased = (cut == 0).all(dim=-1)
        assert bool((cut[~erased] == 1).all()) and not bool((erased & ~words).any())
        assert bool((erased.sum(dim=1) == words.sum(dim=1) - 1).all())


def test_the_separator_of_word_vectors_is_special_and_a_single_text_has_none() -> None:
    tokenizer = _parts_of("word_vectors").tokenizer
    ids = special_ids(tokenizer)
    for pair, n_special in (("near the river", 1), (None, 0)):
        encoded = encode_rows(tokenizer, frame(4).assign(text_pair=pair), settings_of("word_vectors"))
        batch = Classification(encoded, torch.zeros(4, dtype=torch.int64), None, ids).batch(np.arange(4), 0)
        assert batch["special_tokens_mask"].sum(dim=1).tolist() == [n_special] * 4


def test_features_are_cut_from_all_tokens_of_a_row_and_differ_between_rows() -> None:
    torch.manual_seed(0)
    cut = token_cutoff.cut(torch.ones(3, 5, 40), torch.zeros(3, 5, dtype=torch.bool), mode="feature", ratio=0.1)
    assert bool((cut == cut[:, :1]).all()) and (cut[:, 0] == 0).sum(dim=1).tolist() == [4, 4, 4]
    assert not torch.equal(cut[0], cut[1])


def test_an_error_inside_leaves_no_change_of_the_embeddings_behind() -> None:
    model = model_of().eval()
    batch = rows_of().batch(np.arange(3))
    before = model(batch)
    with pytest.raises(ZeroDivisionError), model.changed_embeddings(torch.zeros_like):
        assert not torch.equal(model(batch), before)
        raise ZeroDivisionError
    assert torch.equal(model(batch), before)


# --- r-drop


class InTurn(nn.Module):
    """Gives one of several logits in each pass."""

    def __init__(self, *logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = iter(logits)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return next(self.logits)


def test_r_drop_is_the_mean_loss_and_the_mean_of_both_divergences() -> None:
    first, second = log([0.8, 0.2], [0.3, 0.7]), log([0.5, 0.5], [0.3, 0.7])
    batch = {"labels": torch.tensor([0, 1])}
    loss = built(name="r_drop", alpha=2.0)(InTurn(first, second), batch, 0.0)
    forth = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    back = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    cross_entropy = -(math.log(0.8) + math.log(0.5)) / 2 - math.log(0.7)
    assert loss.item() == pytest.approx(cross_entropy + 2.0 * (forth + back) / 2)
    assert built(name="r_drop", alpha=2.0)(InTurn(second, first), batch, 0.0).item() == pytest.approx(loss.item())


def test_the_symmetric_divergence_is_torchs_both_ways_and_both_get_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    logs = first.log_softmax(1), second.log_softmax(1)
    ways = [nn.functional.kl_div(*pair, log_target=True, reduction="none").sum(1) for pair in (logs, logs[::-1])]
    torch.testing.assert_close(symmetric_kl(first, second), sum(ways).float())  # type: ignore[union-attr]
    assert torch.equal(symmetric_kl(first, second), symmetric_kl(second, first))
    symmetric_kl(first, second).sum().backward()
    assert first.grad is not None and second.grad is not None and bool((second.grad != 0).any())
    assert torch.isfinite(symmetric_kl(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]))).all()


def test_r_drop_without_dropout_is_supervised_and_with_it_the_two_passes_differ() -> None:
    model = model_of().eval()
    rdrop, plainly = labelled(name="r_drop", alpha=5.0), labelled(name="supervised")
    torch.testing.assert_close(loss_of(model, rdrop), loss_of(model, plainly))
    model.train()
    assert loss_of(model, rdrop) > loss_of(model, labelled(name="r_drop", alpha=0.0))


# --- uda


@pytest.mark.parametrize(
    ("tsa", "progress", "n_outputs", "expected"),
    [
        ("linear", 0.0, 2, 0.5),
        ("linear", 0.5, 4, 0.625),
        ("linear", 1.0, 4, 1.0),
        ("log", 0.0, 5, 0.2),
        ("log", 0.2, 5, (1 - math.exp(-1)) * 0.8 + 0.2),
        ("exp", 1.0, 3, 1.0),
        ("exp", 0.8, 4, math.exp(-1) * 0.75 + 0.25),
        ("exp", 0.0, 2, math.exp(-5) * 0.5 + 0.5),
    ],
)
def test_the_threshold_of_annealing(tsa: str, progress: float, n_outputs: int, expected: float) -> None:
    assert uda.threshold(tsa, progress, n_outputs=n_outputs) == pytest.approx(expected)


def test_annealing_leaves_out_the_rows_that_are_known_already() -> None:
    logits = log([0.9, 0.1], [0.7, 0.3], [0.7, 0.3])
    batch = {"logits": logits, "labels": torch.tensor([0, 0, 1]), "original_logits": logits, "variant_logits": logits}
    objective = built(name="uda", tsa="linear", weight=0.0)
    for progress, expected in ((0.0, -math.log(0.3)), (0.5, -math.log(0.7) - math.log(0.3))):
        assert objective(Fixed(), batch, progress).item() == pytest.approx(expected)


def test_the_inconsistency_is_the_divergence_of_the_variant_from_the_sharpened_original() -> None:
    originals, variants = log([0.8, 0.2], [0.5, 0.5]), log([0.5, 0.5], [0.5, 0.5])
    plain = uda.inconsistency(originals, variants, temperature=1.0, confidence=0.0)
    assert plain.tolist() == pytest.approx([0.8 * math.log(1.6) + 0.2 * math.log(0.4), 0.0], abs=1e-6)
    sharp = uda.inconsistency(originals, variants, temperature=0.5, confidence=0.0)  # 0.64 to 0.04
    share = 0.64 / 0.68
    by_hand = share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share))
    assert sharp[0].item() == pytest.approx(by_hand)
    # Sharpened it would be sure enough: the mask looks at the prediction itself.
    assert uda.inconsistency(originals, variants, temperature=0.5, confidence=0.85).tolist() == [0.0, 0.0]


def test_the_original_gets_no_gradient_and_its_variant_does() -> None:
    originals, variants = log([0.8, 0.2]).requires_grad_(), log([0.5, 0.5]).requires_grad_()
    uda.inconsistency(originals, variants, temperature=0.85, confidence=0.0).sum().backward()
    assert originals.grad is None and variants.grad is not None and bool((variants.grad != 0).all())
    model, logits = Fixed(), log([0.8, 0.2])
    batch = {"logits": logits, "labels": torch.tensor([0]), "original_logits": logits, "variant_logits": logits}
    built(name="uda")(model, batch, 0.0)
    assert model.followed == [True, False, True]


def test_consistency_is_the_mean_over_unlabelled_rows_times_the_labelled_ones() -> None:
    originals, variants = log(*[[0.8, 0.2]] * 6), log(*[[0.5, 0.5]] * 6)
    batch = {"logits": log([0.5, 0.5], [0.5, 0.5]), "labels": torch.tensor([0, 1])}
    batch |= {"original_logits": originals, "variant_logits": variants}
    kl = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    loss = built(name="uda", temperature=1.0, weight=3.0)(Fixed(), batch, 0.0)
    assert loss.item() == pytest.approx(2 * math.log(2) + 3.0 * 2 * kl)


@pytest.mark.parametrize("head", ["linear", "text_cnn"])
def test_uda_without_consistency_and_annealing_is_supervised(head: str) -> None:
    model = model_of(head=head).train()
    assert torch.equal(loss_of(model, labelled(name="uda", weight=0.0)), loss_of(model, labelled(name="supervised")))


def test_a_batch_in_which_nothing_counts_gives_zero_and_no_gradient() -> None:
    logits, model = log([0.9, 0.1]), Fixed()
    batch = {"logits": logits, "labels": torch.tensor([0]), "original_logits": logits, "variant_logits": -logits}
    loss = built(name="uda", tsa="linear", confidence=0.95)(model, batch, 0.0)
    loss.backward()
    assert loss.item() == 0.0 and model.scale.grad is not None and model.scale.grad.item() == 0.0


def test_a_loss_that_is_no_number_is_not_masked_away() -> None:
    logits, model = torch.full((1, 2), math.nan), Fixed()
    batch = {"logits": logits, "labels": torch.tensor([0]), "original_logits": logits, "variant_logits": logits}
    loss = built(name="uda", tsa="linear", confidence=0.9)(model, batch, 0.0)
    assert math.isnan(loss.item())


# --- unlabelled rows


def with_unlabelled(n: int = 24, ratio: int = 3, seed: int = 5) -> WithUnlabelled:
    trained = labelled(n=n, name="uda", ratio=ratio)
    assert isinstance(trained, WithUnlabelled)
    return WithUnlabelled(trained.objective, trained.originals, trained.variants, ratio, seed)


def test_a_batch_carries_unlabelled_rows_and_the_variants_of_just_these() -> None:
    trained, rows = with_unlabelled(), np.array([3, 9])
    batch, chosen = trained.batch(rows, 2), trained.chosen(rows, 2)
    assert chosen.shape == (6,)
    for prefix, inputs in (("original_", trained.originals), ("variant_", trained.variants)):
        for name, tensor in inputs.batch(chosen).items():
            assert torch.equal(batch[prefix + name], tensor)
    assert torch.equal(batch["input_ids"], trained.objective.batch(rows, 2)["input_ids"])
    assert trained.weights(batch) == {"loss": 2.0}


def test_unlabelled_rows_are_a_function_of_seed_step_and_row_and_all_have_their_turn() -> None:
    trained, rows = with_unlabelled(), np.arange(24)
    chosen = trained.chosen(rows, 0)
    assert np.array_equal(np.concatenate([trained.chosen(rows[:5], 0), trained.chosen(rows[5:], 0)]), chosen)
    assert np.array_equal(with_unlabelled().chosen(rows, 0), chosen)
    assert not np.array_equal(trained.chosen(rows, 1), chosen)
    assert not np.array_equal(with_unlabelled(seed=6).chosen(rows, 0), chosen)
    assert {int(chosen) for step in range(6) for chosen in trained.chosen(rows, step)} == set(range(30))


def test_lengths_hold_what_the_unlabelled_rows_take_on_average() -> None:
    trained = with_unlabelled(ratio=2)
    extra = trained.lengths - trained.objective.lengths
    mean = trained.originals.lengths.mean() + trained.variants.lengths.mean()
    assert set(extra) == {math.ceil(2 * mean)}


@pytest.mark.parametrize(("n_originals", "n_variants"), [(0, 0), (3, 2)])
def test_unlabelled_rows_without_a_variant_each_are_refused(n_originals: int, n_variants: int) -> None:
    def some(n: int) -> Encoded:
        return Encoded(np.zeros(n, np.int32), np.zeros(n, np.int8), np.arange(n + 1), 0, 0, None)

    trained = labelled(name="supervised")
    assert isinstance(trained, Classification)
    with pytest.raises(DataError, match=f"must have one variant, got {n_originals} rows and {n_variants} variants"):
        WithUnlabelled(trained, some(n_originals), some(n_variants), 1, 0)
