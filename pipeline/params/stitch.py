"""The section `stitch` of params.yaml: which frozen encoders are laid side by side, under which heads, trained how."""

from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.encoders import Training
from pipeline.params.fields import Component, PositiveInt, Ratio, Section, component


class Best(Section):
    """The pairs that together blend best, chosen anew for every fold on the rows of the other folds."""

    best: PositiveInt
    """How many."""


class Stitch(Training):
    """Frozen encoders side by side under new heads; any key of `training` overrides it. One model per pair and head."""

    pairs: Literal["all"] | Best | list[Annotated[list[str], Field(min_length=2)]] = "all"
    """`all` pairs of encoders, a list of pairs or triples such as `[[a, b], [a, b, c]]`, or `{best: n}`; `[]` for none."""
    heads: dict[str, component("heads")] = Field(  # type: ignore[valid-type]
        default={"cnn": "text_cnn", "lstm": "bilstm"}, min_length=1
    )
    """The heads by a name of their own: the models are called `<encoder>+<encoder>+<head>`."""
    pooling: component("poolings") = "mean"  # type: ignore[valid-type]
    """How token states become one vector, for heads that read a vector."""
    fusion: component("fusions") = "concatenation"  # type: ignore[valid-type]
    """How the aligned states of the sides become one state per token."""
    layer_norm: bool = True
    """Whether each side is normalised before it is fused."""
    projection: PositiveInt | None = None
    """Width to which each side is projected; None leaves it."""
    tokenizer: str = "best"
    """Onto whose tokens the others are brought: an encoder of every pair, or `best`, the one with the better score, for
    every fold by the rows of the other folds."""
    alignment: Literal["mean", "max", "first"] = "mean"
    """What a token receives of the other encoder's tokens that share characters with it."""
    without_offsets: Literal["refuse", "words"] = "refuse"
    """What to do with tokenizers that do not say where a token stands: `words` aligns theirs word by word."""
    layers: Literal["last", "last_four"] | Annotated[int, Field(ge=0)] = "last"
    """Which states are taken: of the last layer, the mean of the last four, or of a layer by number (0: embeddings)."""
    base: Literal["finetuned", "pretrained"] = "pretrained"
    """Whose states: of the encoders before fine-tuning, or of the fold's fine-tuned ones, which have fitted the very rows
    from which `head_rows: train` lets the heads learn."""
    head_rows: Literal["train", "held_out", "noised"] = "train"
    """What heads learn from: the rows that the fold's encoders trained on; those that `epoch_selection: inner` held out
    from the encoders; or the former with noise on their states, which the encoders have made too clean."""
    state_dropout: Ratio = 0.2
    """Share of state values set to zero where `head_rows` is noised."""
    state_noise: Annotated[float, Field(ge=0)] = 0.2
    """Standard deviation of the noise where `head_rows` is noised; states have 1 after `layer_norm`."""
    objective: component("objectives") = "supervised"  # type: ignore[valid-type]
    """What training minimises; one that needs no encoder that learns."""
    features: Literal["cache", "online"] = "cache"
    """`cache` computes each encoder's states once per fold into a file of half-precision numbers, removed afterwards;
    `online` computes them anew in every epoch."""
    unfreeze: Annotated[int, Field(ge=0)] = 0
    """So many layers from the top of each encoder are trained along, at `learning_rate`; needs `online`."""

    def groups(self, encoders: list[str]) -> dict[str, list[str] | None]:
        """Return the encoders of each pair or triple by its name; None where every fold chooses its own."""
        if isinstance(self.pairs, Best):
            return {f"best{number}": None for number in range(1, self.pairs.best + 1)}
        chosen = combinations(encoders, 2) if self.pairs == "all" else self.pairs
        return {"+".join(group): list(group) for group in chosen}

    def models(self, encoders: list[str]) -> dict[str, tuple[str, Component]]:
        """Return the group and the head of each stitched model by the model's name."""
        groups = self.groups(encoders)
        return {f"{group}+{name}": (group, head) for group in groups for name, head in self.heads.items()}

    def pooling_of(self, head: Component) -> Component | None:
        """Return the pooling that stands before a head; None where the head reads tokens."""
        return self.pooling if head.constant("READS") == "vector" else None
