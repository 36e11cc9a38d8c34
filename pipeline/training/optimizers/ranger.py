"""Ranger: RAdam, looked ahead with slow weights, its gradients centred, from pytorch_optimizer.

Source: Wright, Ranger, 2019, https://github.com/lessw2020/Ranger-Deep-Learning-Optimizer; Liu et al., RAdam, 2020,
https://arxiv.org/abs/1908.03265; Zhang et al., Lookahead, 2019, https://arxiv.org/abs/1907.08610; Yong et al., Gradient
Centralization, 2020, https://arxiv.org/abs/2004.01461
Differs from the library's default, which in the first steps, while RAdam's variance is not known, goes up the gradient.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import Ranger

LIBRARIES = ("pytorch_optimizer",)
KEEPS = 1  # copies of the weights besides its averages of gradients


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.95,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-5,
    n_fast_steps: Annotated[int, Field(ge=1)] = 6,
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5,
    centralize_gradients: bool = True,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`.

    Args:
        parameter_groups: those of the model.
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of squared gradients.
        epsilon: added to the root of the latter.
        n_fast_steps: steps after which the slow weights follow.
        alpha: the share of the way that they go.
        centralize_gradients: whether the mean over a weight's inputs is taken from its gradient.
    """
    options: dict[str, Any] = {"k": n_fast_steps, "alpha": alpha, "use_gc": centralize_gradients}
    options["degenerated_to_sgd"] = True
    return Ranger(parameter_groups, betas=(beta1, beta2), eps=epsilon, **options)
