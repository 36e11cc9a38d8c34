"""What every schedule keeps, and those that transformers has, too, against it."""

import pytest
import torch

from pipeline import components


@pytest.mark.parametrize("name", components.available("schedules"))
@pytest.mark.parametrize(("n_steps", "n_warmup_steps"), [(10, 3), (10, 0), (1, 0), (5, 5)])
def test_a_schedule_stays_between_zero_and_one_and_rises_only_while_warming_up(
    name: str, n_steps: int, n_warmup_steps: int
) -> None:
    factor = components.build("schedules", name, n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    values = [factor(step) for step in range(n_steps)]
    assert all(0 < value <= 1 for value in values)
    after = values[n_warmup_steps:]
    assert after == sorted(after, reverse=True)
    assert values[:n_warmup_steps] == sorted(values[:n_warmup_steps])


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_schedules_equal_those_of_transformers(name: str) -> None:
    from transformers import get_scheduler

    n_steps, n_warmup_steps = 20, 5
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(name, optimizer, n_warmup_steps, n_steps)
    factor = components.build("schedules", name, n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    for step in range(n_steps):
        # Ours warms up from 1 / n instead of 0, so that no step is wasted.
        if step >= n_warmup_steps:
            assert factor(step) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
