"""What every component of every folder must keep, and how a component gets its arguments."""

import ast
import inspect
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest

from pipeline import components, contracts, training_contracts
from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain import pretext
from pipeline.ranges import PositiveInt
from pipeline.submit import format
from pipeline.units import backend

EVERY = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in components.kinds() for name in components.available(kind)]
)
MODULES = (contracts, training_contracts, pretext, backend, format)
BUILDERS = [contract for module in MODULES for name, contract in vars(module).items() if name.startswith("Build")]
# A contract's docstring begins with the folder that it is about.
OFFERED = {
    str(contract.__doc__).split("/")[0].strip("`"): set(inspect.signature(contract.__call__).parameters) - {"self"}
    for contract in BUILDERS
}


def build_of(kind: str, name: str) -> ast.FunctionDef:
    tree = components.source(kind, name)
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build")


@EVERY
def test_a_component_says_what_it_is_and_types_its_options(kind: str, name: str) -> None:
    build = build_of(kind, name)
    assert ast.get_docstring(components.source(kind, name)), "a module docstring"
    assert ast.get_docstring(build) and build.returns is not None
    assert not build.args.args, "everything is keyword-only"
    assert all(argument.annotation is not None for argument in build.args.kwonlyargs)


def test_kinds_are_the_folders_of_components_and_each_has_a_contract() -> None:
    assert set(components.kinds()) == set(OFFERED)


@EVERY
def test_a_component_names_only_what_its_kind_is_offered_and_uses_it(kind: str, name: str) -> None:
    wanted = components.needed(kind, name)
    assert wanted <= OFFERED[kind], (
        f"{kind}/{name}: build wants {sorted(wanted - OFFERED[kind])}, but contracts.py offers {sorted(OFFERED[kind])}: "
        "give it a default, which makes it an option, or offer it to all"
    )
    used = {
        node.id for statement in build_of(kind, name).body for node in ast.walk(statement) if isinstance(node, ast.Name)
    }
    assert wanted <= used, f"{kind}/{name}: leave out {sorted(wanted - used)}"


@EVERY
def test_a_contract_gains_an_argument_without_touching_a_component(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "load", lambda kind, name, function: dict)
    offered = dict.fromkeys(OFFERED[kind])
    given = components.call(kind, name, "build", {"an_option": 1}, **offered, something_new=2)
    assert set(given) == {"an_option", *components.needed(kind, name)}


def _numbers(kind_of_value: Any) -> Iterator[Any]:
    """Yield the numbers that a type holds without a range."""
    if kind_of_value in (int, float):
        yield kind_of_value
    elif get_origin(kind_of_value) is not Annotated:
        yield from (number for part in get_args(kind_of_value) for number in _numbers(part))


@EVERY
def test_a_number_among_the_options_has_its_range_in_the_signature(kind: str, name: str) -> None:
    inner = components.constant(kind, name, "COMPONENTS") or {}
    for option, kind_of_value in components.options(kind, name).items():
        assert kind_of_value is not Any or option in inner, (
            f"{kind}/{name}: annotate {option} with types that `components.options` reads"
        )
        assert not list(_numbers(kind_of_value)), (
            f"{kind}/{name}: give {option} a range, such as one of pipeline/ranges.py"
        )


@EVERY
def test_the_defaults_of_a_component_are_in_their_ranges_but_for_what_must_be_given(kind: str, name: str) -> None:
    wrong = [text for _, text in components.wrong_options(kind, name, {})]
    assert all("is missing. Add it." in text or "exactly one of" in text for text in wrong)


@pytest.mark.parametrize(
    ("kind", "name", "given", "said"),
    [
        ("stackers", "lightgbm", {"n_leaves": 9}, "n_leaves: must be less than or equal to 7, got 9. Correct it, or"),
        ("stackers", "lightgbm", {"n_rounds": 0, "learning_rate": 0.0}, "n_rounds: must be .* learning_rate: must be"),
        (
            "stackers",
            "logistic",
            {"inverse_penalty": float("inf")},
            "inverse_penalty: must be a finite number, got inf",
        ),
        (
            "baselines",
            "tfidf_logistic",
            {"C": -1},
            r"C: must be greater than 0, got -1\. Correct it, .*default \(3\.0\)",
        ),
        ("heads", "text_cnn", {"widths": [3, 0]}, r"widths\.1: must be greater than or equal to 1, got \[3, 0\]"),
        ("augmenters", "sentence_shuffle", {"mode": "left"}, "mode: must be 'neighbours' or 'all', got 'left'"),
        ("augmenters", "keyboard", {"layout": "klingon"}, "layout: must be 'en', .* got 'klingon'"),
        ("augmenters", "tfidf", {"word_ratio": 1.5}, "word_ratio: must be less than or equal to 1, got 1.5"),
        ("objectives", "mixup", {"alpha": float("nan")}, "alpha: must be a finite number, got nan"),
        ("optimizers", "adamw", {"beta2": 1}, "beta2: must be less than 1, got 1"),
        ("augmenters", "synonyms", {}, "lexicon: is missing. Add it"),
        (
            "fusions",
            "cross_attention",
            {"hidden_size": 16, "n_heads": 3},
            r"n_heads: must divide hidden_size \(16\), got 3",
        ),
        ("similarities", "sentence_cosine", {}, "exactly one of model and package must be given, got none"),
        ("augmenters", "homophones", {"lexicon": "models/x", "tone": True}, "lexicon and tone exclude one another"),
    ],
)
def test_P2_P5_options_are_checked_against_the_signature(
    kind: str, name: str, given: dict[str, Any], said: str
) -> None:
    """Options of components out of their range, missing, or that do not fit together are refused before anything is built."""
    with pytest.raises(ParamsError, match=f"{name}: .*{said}"):
        components.build(kind, name, given)


def test_options_have_a_default_and_arguments_none() -> None:
    assert components.options("poolings", "attention") == {"attention_size": PositiveInt}
    assert components.needed("poolings", "attention") == {"hidden_size"}


def test_an_argument_that_is_not_offered_is_named() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'n_layers'"):
        components.build("poolings", "layer_mix", hidden_size=8)
