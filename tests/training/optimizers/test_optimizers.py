"""What every optimizer keeps: each group's rate, and the same steps after a restart."""

import pytest
import torch

from pipeline import components


@pytest.mark.parametrize("name", components.available("optimizers"))
def test_an_optimizer_takes_each_groups_rate_and_resumes_from_its_state(name: str) -> None:
    def steps(n: int, weights: torch.nn.Parameter, state: dict | None = None) -> dict:
        groups = [{"params": [weights], "lr": 0.1, "weight_decay": 0.0}]
        optimizer = components.build("optimizers", name, parameter_groups=groups)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(n):
            optimizer.zero_grad()
            (weights**2).sum().backward()
            optimizer.step()
        return optimizer.state_dict()

    whole, parts = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    steps(5, whole)
    steps(3, parts, steps(2, parts))
    assert torch.equal(whole, parts) and (whole.abs() < 1).all()
