"""The same settings for stitched and base models: what accompanies a training goes with stitched heads too."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun
from pipeline.params.fields import Component
from pipeline.params.stitch import Stitch
from pipeline.stitch.fold_training import build_stitched
from pipeline.stitch.states import Base
from pipeline.training.fold_trainer import Trainee
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from pipeline.units.checkpoints import Checkpoints
from tests.small import TEXTS, encoder, frame
from tests.training.regression import StopAt, weights

SWITCHES: dict[str, dict[str, Any]] = {
    **{name: {"adversarial": name} for name in components.available("adversarial")},
    "r_drop": {"objective": "r_drop"},
    "dropout_samples": {"dropout_samples": 3},
    "pooled": {"pooling": "cls_mean_max", "heads": {"a": "linear"}},
    "transformer": {"heads": {"a": "transformer"}},
    "pyramid": {"heads": {"a": {"name": "dpcnn", "n_filters": 4}}},
}
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "tokens_per_micro_batch": 60}


def trainee(**switches: Any) -> Trainee:
    """Return a head over two encoders that are not fine-tuned, whose states are computed online."""
    settings = Stitch.model_validate({"heads": {"a": {"name": "text_cnn", "n_filters": 4}}, **TRAINING, **switches})
    families = {"bert": 16, "electra": 8}
    bases = [
        Base(
            name, encoder(architecture=name, hidden_size=width), Path(), name, "", "last", "refuse", fresh=(TEXTS, 0)
        )
        for name, width in families.items()
    ]  # fmt: skip
    head: Component = settings.heads["a"]
    return build_stitched(
        bases=bases, features=None, rows=frame(16), n_outputs=2, settings=settings, head=head, scorer=None, seed=1
    )


def weights_after(switch: dict[str, Any], **arguments: Any) -> torch.Tensor:
    made = trainee(**switch)
    groups = made.parameter_groups
    plugged = plug_ins(made.settings, groups)
    train(
        made.model, made.objective, groups, settings=made.settings, seed=3, device="cpu", **plugged, **arguments
    )  # fmt: skip
    return weights(made.model)


@cache
def plainly() -> torch.Tensor:
    return weights_after({})


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_stitched_head_trains_with_it(switch: str) -> None:
    trained = weights_after(SWITCHES[switch])
    assert torch.isfinite(trained).all()
    assert trained.shape != plainly().shape or not torch.equal(trained, plainly())


@pytest.mark.parametrize("switch", ["awp", "freelb", "r_drop"])
def test_stopped_and_resumed_the_weights_are_bit_equal(switch: str, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRun):
        weights_after(SWITCHES[switch], checkpoints=Checkpoints(tmp_path), monitor=StopAt(3))
    resumed = weights_after(SWITCHES[switch], checkpoints=Checkpoints(tmp_path))
    assert torch.equal(resumed, weights_after(SWITCHES[switch]))


def test_what_the_head_reads_is_moved_in_the_place_of_embeddings() -> None:
    made = trainee()
    model, seen = made.model.eval(), []
    batch = made.objective.batch(torch.arange(4).numpy(), 0)
    before = model(batch)
    with model.changed_embeddings(lambda vectors: seen.append(vectors) or vectors + 1.0):  # type: ignore[operator]
        assert not torch.equal(model(batch), before)
    assert [tuple(vectors.shape) for vectors in seen] == [(4, batch["attention_mask"].shape[1], 24)]
    assert torch.equal(model(batch), before)
