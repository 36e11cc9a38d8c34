"""What a component of each kind must offer: one Protocol per folder. Read this page first.

A component is one file `pipeline/*/<kind>/<name>.py` with a function `build`, whose arguments all go by keyword. Those with a
default are options of params.yaml, each in its range; see `components.wrong_options` for what fits together. Those without
come from the code: a `Build...` protocol below says all that is offered to its kind, a component names what it needs.
Constants say what it reads: `FILES` names options that are files in models/, `MODELS` those that are a folder with a model
there or a hub checkpoint `owner/name@<40-hex commit>`, `PACKAGES` folders of packages, `LIBRARIES` whose versions matter.
Shapes: B rows of a batch, T tokens, H hidden units, L layers, N rows, M models, C labels or outputs, V values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROBABILITY, DECIDED, VALUE = (
    "probability:",
    "decided:",
    "value:",
)  # before a label's name: columns of a submission's predictions


class TaskKind(Protocol):
    """`task_kinds/`: what a task's targets are, how models learn and predict them, and what is decided and shown of them.

    `FORM` names the form of its targets (`FORMS` of others: those they fit), `LOGITS`, by an option's value, that of a
    model's outputs where it is another; `ORDER`: that of its labels; `SEVERAL_COLUMNS`: a target may span columns,
    `LOSS` its losses' default, `BINS = True`: its strata only serve to share rows out, a model may do without any of them.
    """

    form: str

    def cells(self, columns: "pd.DataFrame", renamed: Mapping[str, str]) -> "pd.Series[str]":
        """Return one cell (N,) for the label columns of a file, labels `renamed`; null where a row has no target."""

    def list_labels(self, cells: "pd.Series[str]", columns: Sequence[str]) -> list[str]:
        """Return the labels that a training file's cells or columns name, in fixed order: the names of its V values."""

    def check(self, cells: "pd.Series[str]", labels: Sequence[str]) -> str | None:
        """Return what is wrong with the training file's cells taken together, as `must …, got …`, or None."""

    def faults(self, cells: "pd.Series[str]", labels: Sequence[str]) -> "pd.Series[str]":
        """Return of the cells that cannot be read as targets, under their index, what is wrong, as `must …, got …`."""

    def read(self, cells: "pd.Series[str]", labels: Sequence[str]) -> np.ndarray:
        """Return the targets (N, …) of readable cells: numbers of labels, or floats (N, V), NaN where one is missing.

        Floats are of any size: training standardises them, and its models give them back in their units.
        """

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """Return the names of a model's C outputs."""

    def strata(self, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return the strata and their names: int64 (N,), one per row, or bool (N, S); every fold gets its share of each."""

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Return values, float64 (N, V), for outputs (N, C): the link. Their mean over models is a prediction too."""

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (N, C), that have these values."""

    def sureness(self, logits: np.ndarray) -> np.ndarray:
        """Return how sure a model is of each row (N,), on any scale that rises."""

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return what is decided for values (N, V), in the form of targets: what metrics of labels score."""

    def errors(self, targets: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return how wrong each row is, float64 (N,), 0 being right."""

    def needed_errors(self, values: np.ndarray, *, metric: "Metric") -> float | None:
        """Return how many standard errors a tuned decision must at least gain; None where none could serve the metric."""

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: "Metric") -> list[float]:
        """Return the parameters of the decision that are best on these rows."""

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return values (N, V) from which `decide` decides as the parameters say."""

    def is_decision_of(self, decided: np.ndarray, values: np.ndarray, *, within: float) -> bool:
        """Return whether the first values (N, V) are what `apply_decision` makes of the second, by whatever parameters."""

    def plausible_targets(
        self, targets: np.ndarray, values: np.ndarray, by_fold: np.ndarray, *, twins: np.ndarray, agreement: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return J possible targets (J, S, …) of S test rows and weights (J, S), from fold models' values (see `Members`)."""

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str], decision: Any
    ) -> dict[str, Any]:
        """Return what the report shows of out-of-fold predictions, as JSON; `decision`: parameters as tuned, or None."""

    def answers(self, values: np.ndarray, labels: Sequence[str]) -> "pd.DataFrame":
        """Return what a submission may show: `label`, and `probability:`, `decided:` or `value:<label>` where there are."""


class BuildTaskKind(Protocol):
    """`task_kinds/`: the kind of task; `N_LABELS`, also of a metric: how many labels there must be."""

    def __call__(self) -> TaskKind: ...


@dataclass(frozen=True)
class EncoderParts:
    """A Hugging Face model that returns hidden states, and the fast tokenizer that belongs to it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"


class BuildEncoder(Protocol):
    """`encoders/`: make model and tokenizer of the fold's training `texts`, labels unseen; `SAME_START`: they have no say."""

    def __call__(self, *, texts: Sequence[str], max_length: int, seed: int) -> EncoderParts: ...


class Encoder(Protocol):
    """What an encoder's file has besides `build`: torch is imported inside functions only; `options` hold defaults too."""

    def restore(self, *, folder: Path) -> EncoderParts:
        """Make both again from the folder to which configuration and tokenizer were saved; weights are loaded afterwards."""

    def check(
        self, *, options: dict[str, Any], max_length: int, chat_template: bool
    ) -> Iterable[tuple[tuple[str, ...], str, str]]:
        """Yield what can be seen to be wrong without loading, as `Problem`s; `CHATS = True`: of chat templates too."""

    def n_parameters(self, *, options: dict[str, Any], max_length: int) -> int | None:
        """Return about how many parameters it has, or None where nothing on this machine says so."""

    def state_shape(self, *, options: dict[str, Any]) -> tuple[int | None, int | None]:
        """Return its layers and the width of their states, each None where nothing on this machine says so."""


class BuildPooling(Protocol):
    """`poolings/`: a module (L + 1 hidden states (B, T, H), mask (B, T)) -> (B, H or `output_size`), finite for padding."""

    def __call__(self, *, hidden_size: int, n_layers: int) -> "torch.nn.Module": ...


class BuildHead(Protocol):
    """`heads/`: a module that ends in logits (B, C).

    `READS = "vector"`: of a pooled vector (B, H); `"tokens"`: of (B, T, H) and the attention mask (B, T), masked ones aside.
    """

    def __call__(self, *, input_size: int, n_outputs: int) -> "torch.nn.Module": ...


class BuildFusion(Protocol):
    """`fusions/`: a module (states, attention_mask (B, T)) -> (B, T, F), with F as its attribute `output_size: int`.

    `states` are two or more float tensors (B, T, H_i), H_i as in `sizes`, aligned to the tokens of the first one. What stands
    at masked positions must not change the others. A row of padding only gives finite values.
    """

    def __call__(self, *, sizes: Sequence[int]) -> "torch.nn.Module": ...


class BuildLoss(Protocol):
    """`losses/`: a function (logits (B, C), labels (B, …)) -> losses (B,), one >= 0 per row; the loop averages them.

    `labels` are names, `targets` (N, …) those of the rows trained on. `PENALTY = True`: nothing learns from it alone.
    """

    def __call__(
        self, *, n_outputs: int, labels: Sequence[str], targets: np.ndarray
    ) -> "Callable[..., torch.Tensor]": ...


@dataclass(frozen=True)
class Corpus:
    """Rows of one fold: N texts and, unless they are unlabelled, N numbers, equal for rows of the same strata."""

    texts: Sequence[str]
    labels: Sequence[int] | None = None


class Augmenter(Protocol):
    """Makes variants of texts. Text, seed and what it learned when built decide them, never what stands beside them."""

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each of N texts at most `n_variants` variants; the first are the same however many are asked for.

        None equals its text or another; what cannot be made is left out. `seeds` (N,) >= 0; `reserved`: terms that must stay.
        """


class BuildAugmenter(Protocol):
    """`augmenters/`: it may learn from the corpus, the rows of ONE fold, so that its copies stay within that fold.

    `SPARES = True`: it can spare the words that `reserved` names, not only drop what lost one. `NEEDS_LABELS = True`.
    """

    def __call__(self, *, corpus: Corpus, device: str) -> Augmenter: ...


class BuildSimilarity(Protocol):
    """`similarities/`: a function (N texts, N texts) -> float64 (N,) in [0, 1], pairwise, 1 for equal texts; symmetric."""

    def __call__(self, *, corpus: Corpus, device: str) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]: ...


class BuildObjective(Protocol):
    """`objectives/`: a function (model, batch, progress) -> loss summed over the batch's labelled rows, a 0-d tensor.

    `model` is the `TextClassifier` in training mode. `batch` holds its inputs, `labels` (B, …) and `special_tokens_mask`
    (B, T) bool, true where a token stands for no word. `progress` in [0, 1) is the share of the training's steps done. `loss`
    is a built component of `losses/`. The loop adds up the sums of a step's batches and divides by its rows, so nothing may
    be averaged over a batch. Randomness: torch's global generator, seeded per step and batch. No row that counts: a finite 0.
    `READS = "unlabelled"`: the batch also carries inputs of unlabelled rows as `original_<name>`, of their variants as
    `variant_<name>`, per labelled row its attribute `ratio: int`. `"logits"`: it only calls the model, be it a stitched one.
    """

    def __call__(self, *, loss: Any, n_outputs: int) -> "Callable[..., torch.Tensor]": ...


class Baseline(Protocol):
    """A model over raw texts."""

    def fit(self, rows: "pd.DataFrame", labels: np.ndarray) -> None:
        """Fit on rows with the columns `text` and `text_pair` and on targets (N, …)."""

    def predict(self, rows: "pd.DataFrame") -> np.ndarray:
        """Return values (N, V) whose logits are finite, also for labels that were absent when fitting."""

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what was fitted, as JSON and as arrays by name."""

    def load_state(self, fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `state` returned."""


class BuildBaseline(Protocol):
    """`baselines/`: a quick model that everything slower must beat."""

    def __call__(self, *, n_outputs: int, seed: int) -> Baseline: ...


class Stacker(Protocol):
    """A combination of M models. Equivariant under permutations of the rows; no pickle: its state is JSON."""

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Fit on values (N, M, V) and targets (N, …)."""

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return values (N, V) for values (N, M, V)."""

    def weights(self) -> list[float] | None:
        """Return the share of each of the M models in the combination, summing to 1, or None."""

    def state(self) -> dict[str, Any]:
        """Return what was fitted, as JSON."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""


class BuildStacker(Protocol):
    """`stackers/`: a rung. `KEEPS_SINGLE = True`: it keeps a single member. `REFIT`: "nothing", "quick" or absent."""

    def __call__(self, *, metric: "Metric", seed: int) -> Stacker: ...


class Metric(Protocol):
    """A competition metric over a fixed list of labels. Weights let one function serve for bootstrap resamples."""

    higher_is_better: bool
    reads: Literal["labels", "probabilities"]  # what the score depends on: decisions, or the probabilities themselves
    of_counts: bool = False  # of decisions: only on how many rows have, are given, and rightly are given each label

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1: times it, a score is better the higher it is."""
        return 1 if self.higher_is_better else -1

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of values (N, V) against targets (N, …)."""

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under R sets of row weights (R, N), such as bootstrap counts."""


class BuildMetric(Protocol):
    """`metrics/`; `BOUNDS`: least, most; `NEEDED_ERRORS`: of a decision; `ORDERS_ROWS`: compares rows; `ORDER`: of labels.

    `ORDERED = True`: only for kinds of task that have an `ORDER` too. Of what depends on an option: a dict, by its value.
    """

    def __call__(self, *, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> Metric: ...
