"""Long texts: windows cover a text and stand alone in the encoder, and what is made of them is what their vectors say."""

import copy
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import components
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import InterruptedRun
from pipeline.models.batching import Encoded, encode_rows, kept_tokens
from pipeline.models.classifier import TextClassifier, build_classifier, load_classifier, save_classifier, special_ids
from pipeline.models.windows import Windows, window_tokens
from pipeline.training.classification import Classification
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from pipeline.units.checkpoints import Checkpoints
from tests.small import TEXTS, encoder, frame
from tests.training.objectives.test_objectives import KINDS, built
from tests.training.regression import StopAt, weights

SIZE = 16
READOUTS: dict[str, dict[str, Any]] = {
    "mean": {},
    "max": {"window_pooling": "max", "pooling": "cls"},
    "attention": {"window_pooling": "attention", "pooling": "cls_mean_max"},
    "hierarchical": {"head": "transformer", "pooling": "mean"},
    "hierarchical, recurrent": {"head": "bilstm", "pooling": "cls"},
    "tokens": {"head": "text_cnn"},
}
of_readouts = pytest.mark.parametrize("readout", READOUTS)


def settings_of(readout: str = "mean", family: str = "bert", **more: Any) -> Any:
    long = {"max_length": 64, "window": SIZE, "tokens_per_micro_batch": 300}
    return encoder({**long, **READOUTS[readout], **more}, architecture=family)


@cache
def _parts_of(family: str) -> EncoderParts:
    settings = settings_of(family=family)
    return settings.source.build(texts=TEXTS, max_length=settings.longest_input, seed=0)


def model_of(readout: str = "mean", family: str = "bert", **more: Any) -> TextClassifier:
    settings, parts = settings_of(readout, family, **more), _parts_of(family)
    fresh = EncoderParts(copy.deepcopy(parts.model), parts.tokenizer)
    return build_classifier(
        fresh, pooling=settings.pooling, head=settings.head, n_outputs=2, seed=1, window=settings.window,
        window_pooling=settings.window_pooling,
    )  # fmt: skip


def rows_of(n: int = 12, family: str = "bert", **more: Any) -> Encoded:
    """Return rows of one to several windows."""
    rows = frame(n)
    rows["text"] = [" ".join([text] * (1 + i % 4)) for i, text in enumerate(rows["text"])]
    return encode_rows(_parts_of(family).tokenizer, rows, settings_of(family=family, **more))


# --- which tokens


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("lengths", [(50, 0), (15, 0), (40, 5), (5, 40), (30, 29), (200, 90)])
def test_windows_are_full_cover_the_longer_text_and_have_all_special_tokens(
    lengths: tuple[int, int], overlap: float
) -> None:
    first, second = lengths
    sequences = np.array([-1, *[0] * first, -1, *([1] * second + [-1] if second else [])])
    windows = window_tokens(sequences, SIZE, overlap=overlap).reshape(-1, SIZE)
    longer = np.flatnonzero(sequences == int(second > first))
    assert set(longer) <= set(windows.flatten())
    for window in windows:
        assert set(np.flatnonzero(sequences == -1)) <= set(window) and (np.diff(window) > 0).all()
        assert np.diff(np.intersect1d(window, longer)).max() == 1, "a piece without a gap"
    shorter = [np.intersect1d(window, np.flatnonzero(sequences == int(second <= first))) for window in windows]
    assert all(len(part) == min(*lengths, (SIZE - (3 if second else 2)) // 2) for part in shorter)
    for before, after in pairwise(windows[:-1]):
        both = np.intersect1d(np.intersect1d(before, longer), after)
        room = len(np.intersect1d(before, longer))
        assert len(both) == min(int(overlap * room), room - 1)


@pytest.mark.parametrize(
    ("truncation", "expected"),
    [
        ("head", [1, 2, 3, 4]),
        ("tail", [7, 8, 9, 10]),
        ("head_tail", [1, 2, 9, 10]),
        (0.5, [1, 2, 9, 10]),
        (0.25, [1, 8, 9, 10]),
        (0.75, [1, 2, 3, 10]),
    ],
)
def test_a_share_of_the_beginning_is_kept_and_the_rest_of_the_end(truncation: Any, expected: list[int]) -> None:
    sequences = np.array([-1, *[0] * 10, -1])
    assert kept_tokens(sequences, 6, truncation).tolist() == [0, *expected, 11]


def test_rows_are_windows_one_after_another() -> None:
    rows, tokenizer = rows_of(), _parts_of("bert").tokenizer
    assert set(rows.lengths[rows.lengths > SIZE] % SIZE) == {0} and {1, 2, 3} <= set(-(-rows.lengths // SIZE))
    batch = rows.batch(np.arange(12))
    starts = batch["input_ids"][:, ::SIZE]
    assert set(starts.flatten().tolist()) == {tokenizer.cls_token_id, tokenizer.pad_token_id}
    assert rows.spans is not None and len(rows.spans) == rows.starts[-1]
    whole = rows_of(window=None)
    assert (whole.lengths <= rows.lengths).all() and rows.n_truncated == whole.n_truncated


def test_windows_of_a_batch_are_cut_and_joined_again() -> None:
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3, [0] * 6])
    windows = Windows.of(mask, 3)
    rows = torch.arange(36.0).reshape(3, 6, 2) * mask.unsqueeze(-1)
    assert windows.kept.tolist() == [0, 1, 2, 4] and windows.cut(rows).shape == (4, 3, 2)
    assert torch.equal(windows.join(windows.cut(rows)), rows)
    ragged = Windows.of(mask[:, :5], 3)
    assert torch.equal(ragged.join(ragged.cut(rows[:, :5])), rows[:, :5])


# --- what the model makes of them


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "xlnet", "t5"])
def test_a_windows_states_are_those_that_it_has_alone(family: str) -> None:
    """Also in families whose positions hold no more than a window."""
    model, rows = model_of(family=family).eval(), rows_of(family=family)
    batch = rows.batch(np.arange(12))
    states = model.hidden_states(batch)[-1]
    inputs = {name: tensor for name, tensor in batch.items() if name in model.accepted}
    for start in range(0, states.shape[1], SIZE):
        window = {name: tensor[:, start : start + SIZE] for name, tensor in inputs.items()}
        filled = window["attention_mask"].any(dim=1)
        alone = model.backbone(**{name: tensor[filled] for name, tensor in window.items()}, output_hidden_states=True)
        mask = window["attention_mask"][filled].bool()
        torch.testing.assert_close(states[filled, start : start + SIZE][mask], alone.hidden_states[-1][mask])


@of_readouts
def test_a_row_has_the_same_logits_alone_as_in_a_batch(readout: str) -> None:
    model, rows = model_of(readout).eval(), rows_of()
    together = model(rows.batch(np.arange(12)))
    for row in range(4):
        torch.testing.assert_close(model(rows.batch(np.array([row])))[0], together[row], rtol=1e-4, atol=1e-6)


def test_the_windows_vectors_are_pooled_as_they_are_told_to_be() -> None:
    rows = rows_of()
    batch = rows.batch(np.array([3]))  # several windows
    n_windows = int(rows.lengths[3]) // SIZE
    assert n_windows >= 3
    for name, reduce in (("mean", lambda v: v.mean(dim=0)), ("max", lambda v: v.amax(dim=0))):
        model = model_of(name).eval()
        states = model.hidden_states(batch)
        pooling = components.build("poolings", (READOUTS[name].get("pooling") or "mean"))
        parts = [
            pooling(tuple(s[:, i * SIZE : (i + 1) * SIZE] for s in states), torch.ones(1, SIZE))[0]
            for i in range(n_windows)
        ]
        torch.testing.assert_close(model(batch)[0], model.readout.head(reduce(torch.stack(parts))))
    model = model_of("hierarchical").eval()
    vectors = model.readout.features(model.hidden_states(batch), batch["attention_mask"])
    assert vectors.shape == (1, n_windows, 16)
    torch.testing.assert_close(model(batch), model.readout.head(vectors, torch.ones(1, n_windows)))


def test_texts_within_a_window_are_read_as_without() -> None:
    settings = settings_of(window=None, max_length=SIZE)
    rows = encode_rows(_parts_of("bert").tokenizer, frame(8), settings)
    plain, windowed = model_of(window=None).eval(), model_of().eval()
    batch = rows.batch(np.arange(8))
    torch.testing.assert_close(windowed(batch), plain(batch))


@of_readouts
def test_a_model_that_reads_windows_is_saved_and_loaded(readout: str, tmp_path) -> None:
    model, batch = model_of(readout).eval(), rows_of().batch(np.arange(12))
    save_classifier(model, _parts_of("bert").tokenizer, tmp_path, source="from_config")
    assert torch.equal(load_classifier(tmp_path)[0](batch), model(batch))


# --- training


def trained_on(objective: dict[str, Any]) -> Classification:
    labels = torch.tensor(frame(12)["label"].tolist())
    return Classification(rows_of(), labels, built(**objective), special_ids(_parts_of("bert").tokenizer))


@of_readouts
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"uda"}))
def test_every_objective_goes_with_windows(readout: str, kind: str) -> None:
    model, trained = model_of(readout).train(), trained_on(KINDS[kind])
    loss = trained.loss_sums(model, trained.batch(np.arange(9), 3), 0.5)["loss"]
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert torch.isfinite(loss) and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("readout", "adversarial"), [("attention", "freelb"), ("hierarchical", "fgm")])
def test_it_trains_and_resumes_to_the_same_bits(readout: str, adversarial: str, tmp_path) -> None:
    settings = settings_of(readout, adversarial=adversarial)

    def weights_after(**arguments: Any) -> torch.Tensor:
        model = model_of(readout)
        groups = [{"params": list(model.parameters()), "lr": 5e-3, "weight_decay": 0.0}]
        objective, plugs = trained_on({"name": "supervised"}), plug_ins(settings, groups)
        train(model, objective, groups, settings=settings, seed=3, device="cpu", **plugs, **arguments)
        return weights(model)

    whole = weights_after()
    with pytest.raises(InterruptedRun):
        weights_after(checkpoints=Checkpoints(tmp_path), monitor=StopAt(2))
    assert torch.equal(weights_after(checkpoints=Checkpoints(tmp_path)), whole)
