"""How much a training keeps of what was learnt in pre-training: mixout keeps more, layers that begin anew less.

Source: Lee et al., Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models, 2020, eq. 2,
https://arxiv.org/abs/1909.11299; Zhang et al., Revisiting Few-sample BERT Fine-tuning, 2021, section 4,
https://arxiv.org/abs/2006.05987 (re-initialisation)
Differs from the papers: mixout goes beside dropout, not in its place; there is no pooler to re-initialise.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from pipeline.errors.exceptions import ParamsError
from pipeline.models.classifier import Readout, TextClassifier
from pipeline.params.encoders import Encoder
from pipeline.training.parameter_groups import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def regularise(model: TextClassifier, settings: Encoder, *, seed: int) -> None:
    """Set up a new classifier as `dropout_samples`, `reinit_layers` and `mixout` say; `seed` is that of new layers."""
    if isinstance(model.readout, Readout):
        model.readout.dropout_samples = settings.dropout_samples
    if settings.reinit_layers:
        reinitialise(model.backbone, settings.reinit_layers, seed=seed)
    if settings.mixout:
        add_mixout(model.backbone, settings.mixout)


def reinitialise(backbone: "PreTrainedModel", n_layers: int, *, seed: int) -> None:
    """Give the topmost layers new weights, as the model's family draws them; a function of the seed.

    Raises:
        ParamsError: if there are not so many.
    """
    layers = layers_of(backbone, "reinit_layers")
    if n_layers > len(layers):
        name = type(backbone).__name__
        raise ParamsError(
            f"reinit_layers: must be at most {len(layers)}, the layers of {name}, got {n_layers}. Lower it."
        )
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in layers[len(layers) - n_layers :]:
            for tensor in [*layer.parameters(), *layer.buffers()]:
                setattr(tensor, "_is_hf_initialized", False)  # noqa: B010  # transformers guards what a checkpoint gave
            layer.apply(backbone._init_weights)


class Mixout(nn.Module):
    """In training a weight that is drawn is the pre-trained one; the expectation is the weight itself."""

    target: torch.Tensor

    def __init__(self, pretrained: torch.Tensor, probability: float) -> None:
        super().__init__()
        self.probability = probability
        # Not in checkpoints: a resumed training builds the model anew from what was pre-trained.
        self.register_buffer("target", pretrained.detach().clone(), persistent=False)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return weight
        drawn = torch.empty_like(weight).bernoulli_(self.probability).bool()
        mixed = torch.where(drawn, self.target, weight)
        return (mixed - self.probability * self.target) / (1 - self.probability)


def add_mixout(backbone: nn.Module, probability: float) -> None:
    """Mix the weights of all linear layers with what they are now.

    Raises:
        ParamsError: if there are none.
    """
    layers = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ParamsError(f"mixout: must have linear layers, got none in {type(backbone).__name__}. Set it to 0.")
    for module in layers:
        mixout = Mixout(module.weight, probability).train(module.training)
        parametrize.register_parametrization(module, "weight", mixout, unsafe=True)


def remove_mixout(model: nn.Module) -> None:
    """Leave the weights as they were trained."""
    for module in [module for module in model.modules() if parametrize.is_parametrized(module)]:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
