"""Linear warm-up, then linear decay to zero.

Source: Devlin et al., BERT, 2019, appendix A.2, https://arxiv.org/abs/1810.04805
"""

from collections.abc import Callable

from pipeline.training.scheduling import from_transformers


def build(*, n_steps: int, n_warmup_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1.

    >>> factor = build(n_steps=10, n_warmup_steps=2)
    >>> [factor(step) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.125]
    """
    return from_transformers("linear", n_steps=n_steps, n_warmup_steps=n_warmup_steps)
