"""Each token is masked by itself.

Source: Devlin et al., BERT, 2019, section 3.1, https://arxiv.org/abs/1810.04805
"""

from pipeline.pretrain.pretext import Masking


def build() -> Masking:
    """Return it."""
    return Masking()
