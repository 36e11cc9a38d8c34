"""What is wrong with the stitched pairs, given the encoders."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import components
from pipeline.errors.exceptions import expected
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.stitch import Stitch


def check_stitch(stitch: "Stitch", encoders: "dict[str, Encoder]") -> Iterator[Problem]:
    """Yield what is wrong with the stitched pairs, given the encoders."""
    yield from _check_stitch_training(stitch)
    yield from _check_windows(stitch, encoders)
    pairs = stitch.pairs if isinstance(stitch.pairs, list) else []
    for position, pair in enumerate(pairs):
        for name in pair:
            if name not in encoders:
                yield Problem(("pairs", position), expected(name, encoders))
        if len(set(pair)) != len(pair):
            yield Problem(("pairs", position), f"must name different encoders, got {pair}. Remove it.")
        if any(set(pair) == set(other) for other in pairs[:position]):
            yield Problem(("pairs", position), f"names {pair} a second time. Remove it.")
    n_pairs = len(encoders) * (len(encoders) - 1) // 2
    if not isinstance(stitch.pairs, list | str) and stitch.pairs.best > n_pairs:
        text = f"must be at most {n_pairs}, the pairs of {len(encoders)} encoders, got {stitch.pairs.best}. Lower it."
        yield Problem(("pairs", "best"), text)
    groups = [group if group is not None else list(encoders) for group in stitch.groups(list(encoders)).values()]
    outside = [group for group in groups if stitch.tokenizer not in ("best", *group)]
    if outside or (stitch.tokenizer != "best" and not isinstance(stitch.pairs, list | str)):
        text = f"must be best or an encoder of every pair, got {stitch.tokenizer}. Set it to best."
        yield Problem(("tokenizer",), text)
    yield from _check_layers(stitch, encoders, groups)
    if stitch.unfreeze and (stitch.features != "online" or stitch.base != "finetuned"):
        text = "layers that learn have no fixed states. Set features: online and base: finetuned."
        yield Problem(("unfreeze",), text)
    adapted = [name for group in groups for name in group if name in encoders and encoders[name].adapter is not None]
    if stitch.unfreeze and adapted:
        text = f"layers of {adapted[0]} stay as they are under its adapter. Set it to 0, or leave it out of pairs."
        yield Problem(("unfreeze",), text)
    if stitch.head_rows == "held_out" and stitch.base == "pretrained":
        text = "held_out spares rows that base: pretrained has never fitted. Set base: finetuned, or head_rows: train."
        yield Problem(("head_rows",), text)
    elif stitch.head_rows == "held_out":
        names = sorted({name for group in groups for name in group if name in encoders})
        ways = {(encoders[name].epoch_selection, encoders[name].inner_ratio) for name in names}
        if len(ways) > 1 or any(selection != "inner" for selection, _ in ways):
            text = f"held_out takes the rows that {names} spared. Give them epoch_selection: inner and one inner_ratio."
            yield Problem(("head_rows",), text)


def _check_layers(stitch: "Stitch", encoders: "dict[str, Encoder]", groups: list[list[str]]) -> Iterator[Problem]:
    """Yield the layers that are asked for and that some encoder does not have, as far as that is known here."""
    wanted = {"unfreeze": stitch.unfreeze} | ({} if isinstance(stitch.layers, str) else {"layers": stitch.layers})
    for name in dict.fromkeys(name for group in groups for name in group if name in encoders):
        try:
            n_layers, _ = encoders[name].source.call("state_shape")
        except (OSError, ValueError):  # what is wrong with the encoder stands there
            continue
        for key, number in wanted.items():
            if n_layers is not None and number > n_layers:
                yield Problem((key,), f"must be at most {n_layers}, the layers of {name}, got {number}. Lower it.")


def _check_stitch_training(stitch: "Stitch") -> Iterator[Problem]:
    """Yield what stitched heads cannot learn by."""
    fitting = components.having("objectives", "READS", "logits")
    if stitch.objective.name not in fitting:
        text = f"{stitch.objective.name} needs an encoder that learns. Take {' or '.join(fitting)}."
        yield Problem(("objective",), text)


def _check_windows(stitch: "Stitch", encoders: "dict[str, Encoder]") -> Iterator[Problem]:
    """Yield the stitched encoders whose tokens have no single place."""
    groups = stitch.groups(list(encoders)).values()
    named = {name for group in groups for name in (encoders if group is None else group)}
    for name, encoder in encoders.items():
        if name in named and encoder.window is not None:
            text = f"{name} reads windows, whose tokens cannot be aligned with another's. List pairs without it, or set []."
            yield Problem(("pairs",), text)
