"""The sections `training` and `encoders` of params.yaml."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline import components
from pipeline.params.fields import Component, PositiveFloat, PositiveInt, Ratio, Section, component


class Steps(Section):
    """What every training of a model has."""

    epochs: PositiveInt = 3
    batch_size: PositiveInt = 32
    """Rows per optimizer step, whatever the memory."""
    tokens_per_micro_batch: PositiveInt = 8192
    """Padded tokens per forward pass; halved when memory runs out."""
    learning_rate: PositiveFloat = 5e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: PositiveFloat = 1.0
    optimizer: component("optimizers") = "adamw"  # type: ignore[valid-type]
    schedule: component("schedules") = "linear"  # type: ignore[valid-type]
    warmup_ratio: Ratio = 0.1
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps that warm up, in the place of `warmup_ratio`."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` is bf16 on a GPU that has it, fp32 elsewhere."""
    gradient_checkpointing: bool = False
    out_of_memory: Literal["adapt", "fail"] = "adapt"
    """`adapt` halves the micro-batch, same rows and steps; `fail` stops."""
    not_finite: Literal["stop", "rollback"] = "stop"
    """A loss or gradient that is no number: `rollback` goes back to the epoch's start at half the rate, at most twice."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Time between checkpoints. Changes nothing that comes out."""


class Training(Steps):
    """How a model is trained. `training:` holds the defaults, every encoder may override each key."""

    epoch_selection: Literal["last", "inner"] = "last"
    """`last` keeps the last epoch; `inner` the best one on a part of the training rows. Never the scored fold."""
    inner_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    head_learning_rate: PositiveFloat | None = None
    """Rate of the pooling and the head; None is ten times `learning_rate`."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer further from the head learns at this share of the rate of the one above it."""
    loss: component("losses") = "cross_entropy"  # type: ignore[valid-type]
    class_weights: component("class_weights") | None = None  # type: ignore[valid-type]
    """How much a row of each class counts; None: all alike."""
    unfreezing_ratio: Ratio = 0.0
    """Over so much of the training the layers begin to learn one after another from the top, the embeddings last."""
    averaging: component("averaging") | None = None  # type: ignore[valid-type]
    """What is kept in the place of the trained weights: an average of them."""
    adversarial: component("adversarial") | None = None  # type: ignore[valid-type]
    """Adversarial training: gradients where token vectors, or all weights, have moved to a larger loss."""
    adversarial_start_epoch: Annotated[int, Field(ge=0)] = 0
    """So many epochs are trained plainly first."""
    dropout_samples: PositiveInt = 1
    """Multi-sample dropout: passes through the head per training step, whose mean are the logits."""


class Pretraining(Steps):
    """Further pre-training on texts without labels, before any fold is trained. Its keys are its own, none is inherited."""

    pretext: component("pretexts") = "masked_lm"  # type: ignore[valid-type]
    """What is learnt of the texts."""
    masking: component("masking") = "whole_word"  # type: ignore[valid-type]
    """Which tokens are masked together."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that are to be predicted."""
    static: bool = False
    """Whether a text has the same masks in every epoch."""
    files: list[str] = Field(default=[])
    """Further texts, one a line, in UTF-8: files in data/<competition>/."""
    transductive: bool = False
    """Whether texts of test rows, and of rows that `folds` holds out, take part."""
    per_fold: bool = False
    """Pre-train for each fold by itself, without its validation texts; otherwise once for all folds, on the texts of all."""
    held_out_ratio: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of the texts by which perplexity is measured; they are not learnt, and choose the epoch. 0: the last epoch."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens per row, a longer text is cut into several; None: as many as the encoder reads at once."""
    learning_rate: PositiveFloat = 1e-4

    @property
    def training(self) -> Training:
        """Return it as the training loop takes it."""
        keys = {name: getattr(self, name) for name in Steps.model_fields}
        chosen = {"epoch_selection": "inner" if self.held_out_ratio else "last"}
        return Training.model_validate({**keys, **chosen})


class OfTask(Section):
    """What an encoder does otherwise for one task."""

    pooling: component("poolings") | None = None  # type: ignore[valid-type]
    head: component("heads") = "linear"  # type: ignore[valid-type]
    layer: PositiveInt | None = None
    loss: component("losses") = "cross_entropy"  # type: ignore[valid-type]
    class_weights: component("class_weights") | None = None  # type: ignore[valid-type]
    max_length: Annotated[int, Field(ge=4)] = 128
    truncation: Literal["head", "tail", "head_tail"] | Annotated[float, Field(gt=0, lt=1)] = "head"


class TaskBatches(Section):
    """How the batches of a model of several tasks are filled."""

    mixed: bool = False
    """Whether a batch has rows of all tasks, or of one."""
    temperature: Annotated[float, Field(ge=1)] = 1.0
    """Tasks get batches by their rows to the power of 1 / temperature: 1 as they are, 2 by square roots."""
    annealed: bool = False
    """The temperature falls to 1 towards the last epoch."""


class ByItself(Section):
    """A training of each task by itself, before or after that of all together: what is otherwise in it."""

    epochs: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    head_learning_rate: PositiveFloat | None = None


def _by_itself() -> Any:
    # Left out where it is not set: the keys of what was trained before it was an option stay.
    return Field(default=None, exclude_if=lambda value: value is None)


class Encoder(Training):
    """One encoder: where it comes from, how its states become logits; any key of `training` overrides it."""

    source: component("encoders")  # type: ignore[valid-type]
    pooling: component("poolings") | None = None  # type: ignore[valid-type]
    """How token states become one vector, for heads that read a vector; mean unless told."""
    layer: PositiveInt | None = None
    """The last layer that pooling and head read; None: all layers."""
    sharing: component("sharing") = "separate"  # type: ignore[valid-type]
    """What the models of several tasks share."""
    task_weighting: component("task_weighting") = "equal"  # type: ignore[valid-type]
    """How much the loss of each task counts in a model of several."""
    task_batches: TaskBatches = Field(default_factory=TaskBatches)
    of_task: dict[str, OfTask] = Field(default={})
    """By task what is otherwise for it: pooling, head, layer, loss, class weights, lengths."""
    average_first: ByItself | None = _by_itself()
    """A model of several tasks begins at the average of encoders that were trained on one task each, of the same fold."""
    further: ByItself | None = _by_itself()
    """After a model of several tasks each one is trained further by itself."""
    pretrain: Pretraining | None = _by_itself()
    """Before all that, it is pre-trained further on texts without labels."""
    head: component("heads") = "linear"  # type: ignore[valid-type]
    max_length: Annotated[int, Field(ge=4)] = 128
    """Tokens per text or pair, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] | Annotated[float, Field(gt=0, lt=1)] = "head"
    """What is kept of a longer text: its beginning, its end, half of each, or as a number the share of its beginning."""
    field_budgets: dict[str, PositiveInt | Annotated[float, Field(gt=0, le=1)]] = Field(default={})
    """For columns of the texts' template: the share of a too long row's tokens that each may take, or as a whole number the
    most tokens that it ever takes. What one leaves goes to the others."""
    chat_template: bool = False
    """Whether the tokenizer's chat template stands around the texts, in the place of its special tokens; it is never cut."""
    window: Annotated[int, Field(ge=16)] | None = None
    """Texts are read in windows of so many tokens; `max_length` is then what all windows together read of a text."""
    window_overlap: Ratio = 0.25
    """Share of a window's text that the next one reads too."""
    window_pooling: component("poolings") | None = None  # type: ignore[valid-type]
    """How the windows' vectors become one, for heads that read a vector; mean unless told."""
    frozen_layers: Annotated[int, Field(ge=0)] | None = None
    """So many of the lowest layers, and the embeddings, do not learn; 0: only the embeddings; None: all learn."""
    augment: bool = True
    """Whether it learns from the copies that `augment` makes."""
    objective: component("objectives") = "supervised"  # type: ignore[valid-type]
    """What training minimises: the plain loss, or one that augments while training."""
    mixout: Ratio = 0.0
    """Share of the weights of linear layers that are the pre-trained ones in a training step, drawn anew in each."""
    reinit_layers: Annotated[int, Field(ge=0)] = 0
    """So many layers from the top forget what they learnt in pre-training."""

    def reading(self, fields: Sequence[str]) -> "Encoder":
        """Return the settings for texts of these fields: their budgets by the fields' numbers, under which tokens stand."""
        budgets = {str(n): self.field_budgets[name] for n, name in enumerate(fields) if name in self.field_budgets}
        return self.model_copy(update={"field_budgets": budgets})

    def beginning_at(self, folder: Path) -> "Encoder":
        """Return the settings of an encoder that begins at a checkpoint in a folder in the place of its source."""
        [name] = [name for name in components.available("encoders") if components.constant("encoders", name, "FOLDER")]
        option = components.constant("encoders", name, "FOLDER")
        source = Component(kind="encoders", name=name, options={option: str(folder)})
        return self.model_copy(update={"source": source})

    @property
    def longest_input(self) -> int:
        """Return how many tokens the encoder reads at once."""
        return self.max_length if self.window is None else min(self.window, self.max_length)

    @property
    def shares(self) -> bool:
        """Return whether one model learns all tasks of a fold."""
        return self.sharing.constant("ENCODERS") != "apart"

    @property
    def training_steps(self) -> dict[str, "Encoder"]:
        """Return the settings of each training in a fold, in their order: the last one's models are those of the encoder.

        `alone` is of each task by itself, `shared` of all together, `further` of each task again, from where `shared` ended.
        """
        if not self.shares:
            return {"alone": self}
        before, after = self.average_first, self.further
        # What layers that begin anew have learnt once they keep.
        changes = {"further": None} | ({} if before is None else {"reinit_layers": 0})
        steps = {} if before is None else {"alone": self._trained_by_itself(before, without={"sharing"})}
        steps["shared"] = self.model_copy(update=changes)
        return (
            steps if after is None else {**steps, "further": self._trained_by_itself(after, without={"reinit_layers"})}
        )

    def _trained_by_itself(self, given: ByItself, *, without: set[str]) -> "Encoder":
        left_out = without | {"task_weighting", "task_batches", "average_first", "further"}
        kept = {name: getattr(self, name) for name in type(self).model_fields if name not in left_out}
        return Encoder.model_validate({**kept, **given.model_dump(exclude_none=True)})

    def for_task(self, task: str) -> "Encoder":
        """Return the settings as they are for one task."""
        given = self.of_task.get(task)
        if given is None:
            return self
        # Another head brings the pooling that suits it.
        kept = {name for name in type(self).model_fields if name != "pooling" or "head" not in given.model_fields_set}
        own = {name: getattr(self, name) for name in kept}
        other = {name: getattr(given, name) for name in given.model_fields_set}
        return Encoder.model_validate({**own, **other})

    @model_validator(mode="before")
    @classmethod
    def _vector_heads_pool_by_mean(cls, data: Any) -> Any:
        head = data.get("head", cls.model_fields["head"].default) if isinstance(data, dict) else None
        name = head.get("name") if isinstance(head, dict) else getattr(head, "name", head)
        if name in components.having("heads", "READS", "vector"):
            data = {**data, "pooling": data.get("pooling") or "mean"}
            if data.get("window") is not None:
                data["window_pooling"] = data.get("window_pooling") or "mean"
        return data

    @model_validator(mode="after")
    def _head_and_pooling_agree(self) -> "Encoder":
        if self.pooling is not None and self.window is None and self.head.constant("READS") == "tokens":
            name, others = self.head.name, " or ".join(components.having("heads", "READS", "vector"))
            text = f"pooling: head {name} reads token states and takes no pooling. Remove it, or choose {others} or a window"
            raise PydanticCustomError("contradiction", "{text}", {"text": text})
        if self.window_pooling is not None and (self.window is None or self.head.constant("READS") == "tokens"):
            text = "window_pooling: is for windows under a head that reads a vector. Remove it, or set window and such a head"
            raise PydanticCustomError("contradiction", "{text}", {"text": text})
        return self
