"""What every schedule keeps; those of transformers and torch against them; and how long a warm-up may be."""

import math

import pandas as pd
import pytest
import torch

from pipeline import components
from pipeline.base_models.fold_training import build_trainee
from pipeline.errors.exceptions import ParamsError
from pipeline.training.scheduling import n_warmup_steps_of
from tests.small import encoder, frame
from tests.training.regression import settings

LENGTHS = [(10, 3), (10, 0), (1, 0), (5, 5)]


@pytest.mark.parametrize("name", components.available("schedules"))
@pytest.mark.parametrize(("n_steps", "n_warmup_steps"), LENGTHS)
def test_a_schedule_stays_between_zero_and_one_and_rises_only_while_warming_up(
    name: str, n_steps: int, n_warmup_steps: int
) -> None:
    factor = components.build("schedules", name, n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    values = [factor(step) for step in range(n_steps)]
    assert all(0 < value <= 1 for value in values)
    after = values[n_warmup_steps:]
    if not components.constant("schedules", name, "RESTARTS"):
        assert after == sorted(after, reverse=True)
    if components.constant("schedules", name, "FALLS") is False:
        assert set(after) <= {1.0}
    assert values[:n_warmup_steps] == sorted(values[:n_warmup_steps])


# Of each kind that transformers has and that needs no metric: what its options are called here and there.
OPTIONS = {
    "linear": ({}, {}),
    "cosine": ({}, {}),
    "cosine_with_restarts": ({"n_cycles": 3}, {"num_cycles": 3}),
    "polynomial": ({"power": 3.0, "end_ratio": 0.1}, {"power": 3.0, "lr_end": 0.1}),
    "constant": ({}, {}),
    "constant_with_warmup": ({}, {}),
    "inverse_sqrt": ({"timescale": 7}, {"timescale": 7}),
    "cosine_with_min_lr": ({"end_ratio": 0.2}, {"min_lr_rate": 0.2}),
    "cosine_warmup_with_min_lr": ({"end_ratio": 0.2}, {"min_lr_rate": 0.2}),
    "warmup_stable_decay": ({"decay_ratio": 0.4}, {"num_decay_steps": 8, "decay_type": "1-sqrt"}),
}


def test_all_kinds_of_transformers_that_need_no_metric_are_there() -> None:
    from transformers import SchedulerType

    of_metric = {"reduce_lr_on_plateau", "greedy"}
    assert {kind.value for kind in SchedulerType} - of_metric == set(OPTIONS) <= set(components.available("schedules"))


@pytest.mark.parametrize("name", OPTIONS)
def test_schedules_equal_those_of_transformers(name: str) -> None:
    from transformers import get_scheduler

    n_steps, n_warmup_steps = 20, 5
    ours, theirs = OPTIONS[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(name, optimizer, n_warmup_steps, n_steps, theirs)
    factor = components.build("schedules", name, ours, n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    for step in range(n_steps):
        # Ours warms up from 1 / n instead of 0, so that no step is wasted.
        if step >= n_warmup_steps:
            assert factor(step) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize(("n_steps", "n_warmup_steps"), [(10, 3), (97, 10), (1, 0), (5, 5)])
def test_linear_and_cosine_are_to_the_bit_what_they_were_by_hand(n_steps: int, n_warmup_steps: int) -> None:
    rest = max(1, n_steps - n_warmup_steps)
    linear, cosine = (
        components.build("schedules", name, n_steps=n_steps, n_warmup_steps=n_warmup_steps)
        for name in ("linear", "cosine")
    )
    for step in range(n_warmup_steps, n_steps):
        assert linear(step) == (n_steps - step) / rest
        assert cosine(step) == 0.5 * (1 + math.cos(math.pi * ((step - n_warmup_steps) / rest)))


def test_one_cycle_equals_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=20, pct_start=0.3)
    factor = components.build("schedules", "one_cycle", n_steps=20, n_warmup_steps=6)
    for step in range(20):
        assert factor(step) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        if step < 19:
            reference.step()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"warmup_ratio": 0.25}, 5), ({"warmup_steps": 3}, 3), ({"warmup_steps": 0}, 0), ({"warmup_steps": 99}, 20)],
)
def test_warm_up_is_by_ratio_or_by_steps(changes: dict[str, float], expected: int) -> None:
    assert n_warmup_steps_of(settings(**changes), 20) == expected


def test_a_schedule_longer_than_training_is_an_error_before_a_model_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 rows in batches of 8, two epochs: 6 steps."""
    monkeypatch.setattr("pipeline.models.encoders.from_config.build", lambda **_: pytest.fail("a model was made"))
    rows: pd.DataFrame = frame(24)
    arguments = {"rows": rows, "n_outputs": 2, "scorer": None, "seed": 0}
    message = (
        "warmup_steps: must be below the 6 steps of a fold's training .2 epochs of 24 rows in batches of 8., got 6"
    )
    with pytest.raises(ParamsError, match=message):
        build_trainee(settings=encoder({"warmup_steps": 6}), **arguments)
