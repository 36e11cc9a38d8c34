"""The section `augment` of params.yaml: which copies of training rows are made, of which rows, and which are kept."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.params.fields import Component, PositiveFloat, PositiveInt, Ratio, Section, component

WAYS = ("augmenter", "sequential", "one_of")
WHAT = ("action", "direction", "mode")  # options that say what an augmenter does


class Guide(Section):
    """Which words of a text its label hangs on: they stay as they are."""

    by: Literal["tfidf", "gradient"] = "tfidf"
    """`tfidf` weighs words by how they tell the classes of the fold apart; `gradient` asks a trained model."""
    model: str | None = None
    """For `gradient`: the folder of a fold model in models/, trained on other data than this competition's."""
    word_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of each text's words that stay."""


class Step(Section):
    """One kind of copy. Exactly one of `augmenter`, `sequential` and `one_of` says how it is made."""

    augmenter: component("augmenters") | None = None  # type: ignore[valid-type]
    sequential: list[component("augmenters")] | None = Field(default=None, min_length=2)  # type: ignore[valid-type]
    """Augmenters one after another, each over what the one before made."""
    one_of: list[component("augmenters")] | None = Field(default=None, min_length=2)  # type: ignore[valid-type]
    """Augmenters of which each row gets one, drawn by its seed."""
    row_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the rows that get copies."""
    n_copies: PositiveInt | None = None
    """Copies per row: 1, or with `balance_to` as many as are missing."""
    tasks: list[str] | None = Field(default=None, min_length=1)
    """Tasks whose rows get copies; None for all."""
    classes: list[str] | None = Field(default=None, min_length=1)
    """Labels whose rows get copies; None for all."""
    balance_to: str | PositiveInt | None = None
    """Copies of each rarer class until it has as many rows as this label, as the `largest` class, or this number."""
    kept_ratio: Ratio = 0.0
    """0 lets any word change (fully random); more keeps that share of a text's words, drawn by its seed (partly random)."""
    guide: Guide | None = None
    """Spare the words that the label hangs on."""

    @model_validator(mode="after")
    def _one_way(self) -> "Step":
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            text = f"needs exactly one of {list(WAYS)}, got {given or 'none'}. Keep one"
            raise PydanticCustomError("contradiction", "{text}", {"text": text})
        return self

    @property
    def flows(self) -> list[list[Component]]:
        """Return the flows of which each row gets one: augmenters one after another."""
        if self.one_of is not None:
            return [[augmenter] for augmenter in self.one_of]
        return [self.sequential or [self.augmenter]]  # type: ignore[list-item]

    @property
    def needs_labels(self) -> bool:
        """Return whether it can do nothing with rows without labels."""
        guided = self.guide is not None and self.guide.by == "tfidf"
        return guided or any(augmenter.constant("NEEDS_LABELS") for flow in self.flows for augmenter in flow)

    @property
    def title(self) -> str:
        """Return a title for the report, such as `synonyms, guided`, `synonyms > ocr` or `keyboard | random_words delete`."""
        marks = {"guided": self.guide, "partly random": self.kept_ratio, "balanced": self.balance_to}
        flows = " | ".join(flow_name(flow) for flow in self.flows)
        return ", ".join([flows, *(mark for mark, value in marks.items() if value)])


class Quality(Section):
    """Which copies are kept; those that equal their row, another row or another copy never are."""

    similarity: component("similarities") | None = None  # type: ignore[valid-type]
    """How like its row a copy is; needed for the range."""
    min_similarity: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_similarity: Annotated[float, Field(ge=0, le=1)] = 1.0
    flip_confidence: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Drop a copy for a fold whose own quick model, right about the row, gives it another label with this probability."""
    flip_model: component("baselines") = "tfidf_logistic"  # type: ignore[valid-type]
    """The quick model, fitted on each fold's training rows."""


class Augment(Section):
    """Copies of training rows. `{}` makes none."""

    steps: list[Step] = Field(default=[])
    """What is made, one kind of copy each; the copies of all steps are used together."""
    reserved: list[str] = Field(default=[])
    """Terms that stay as they are in every copy, in any case."""
    max_ratio: PositiveFloat | None = None
    """At most so many copies per training row, over all steps; what is over is left out at random."""
    quality: Quality = Field(default_factory=Quality)
    transductive: bool = False
    """Whether objectives that learn from unlabelled texts may see the test texts; off means off."""


def flow_name(flow: list[Component]) -> str:
    """Return the name of augmenters that follow one another, with what each does where it can do several things."""
    deeds = ([step.name, *(step.options[key] for key in WHAT if key in step.options)] for step in flow)
    return " > ".join(" ".join(words) for words in deeds)
