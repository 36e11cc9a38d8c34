"""What every component of every folder must keep, and how a component gets its arguments."""

import ast
import inspect

import pytest

from pipeline import components, contracts, training_contracts
from pipeline.units import backend

EVERY = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in components.kinds() for name in components.available(kind)]
)
BUILDERS = [
    contract
    for name, contract in (vars(contracts) | vars(training_contracts) | vars(backend)).items()
    if name.startswith("Build")
]
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
    given = components.build(kind, name, {"an_option": 1}, **dict.fromkeys(OFFERED[kind]), something_new=2)
    assert set(given) == {"an_option", *components.needed(kind, name)}


def test_options_have_a_default_and_arguments_none() -> None:
    assert components.options("poolings", "attention") == {"attention_size": int}
    assert components.needed("poolings", "attention") == {"hidden_size"}


def test_an_argument_that_is_not_offered_is_named() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'n_layers'"):
        components.build("poolings", "layer_mix", hidden_size=8)
