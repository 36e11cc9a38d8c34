"""Code digests: what must change them does, what must not does not, and none depends on where a definition lies."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.params.encoders import Encoder
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.recipes import fingerprint, source_modules, sources
from pipeline.recipes.fingerprint import LINKS, code_digests
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from stages.recipes import STAGES
from tests.conftest import ROOT, make_competition

TRAIN = [("pipeline.base_models.fold_training", "train_fold")]
MAIN = [("pipeline.main", "main")]


def forget() -> None:
    """Forget what was read: the files are others now."""
    for cached in (
        source_modules.read_module, fingerprint._body, fingerprint._params_methods, fingerprint._classes_with,
    ):  # fmt: skip
        cached.cache_clear()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder whose code is digested."""
    monkeypatch.setattr(source_modules, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    forget()


@pytest.fixture
def edit(root: Path) -> Callable[[str, str, str], None]:
    """Edit a copy of the project's code."""
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, root / name)
    return lambda file, old, new: change(root / file, old, new)


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """What the code that trains a fold digests to as it stands; the same in a copy."""
    return code_digests(TRAIN)


@pytest.fixture
def params(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Params:
    folder = tmp_path_factory.mktemp("competition")
    make_competition(folder)
    monkeypatch.chdir(folder)
    return load_params()


def test_it_reaches_the_training_loop_through_imports_and_leaves_infrastructure_out(digests: dict[str, str]) -> None:
    reached = digests
    assert {"_Loop", "epoch_batches", "Readout", "encode_rows"} <= set(reached)
    assert not {"Encoder", "load_params", "Workspace", "failpoint", "ParamsError", "write_table"} & set(reached)
    assert not {"StitchedClassifier", "Stitch.groups", "WordTokenizer"} & set(reached), "other models have no say"


def test_what_does_not_reach_the_code_changes_nothing(digests: dict[str, str], edit) -> None:
    """Docstrings, comments, a loss that nobody names, a new function, a new key of the params, and where units run."""
    edit("pipeline/training/loop.py", '"""The training loop, written once', '"""Another sentence')
    edit("pipeline/training/loop.py", "import logging\n", "import logging  # a comment\n\n\n")
    edit("pipeline/models/batching.py", '"""Cut rows into parts', '"""Otherwise said')
    edit("pipeline/training/losses/focal.py", "(1 - log", "(2 - log")
    edit("pipeline/artifacts/table.py", "def write_table(", "def unused() -> int:\n    return 1\n\n\ndef write_table(")
    edit("pipeline/params/encoders.py", "max_length: Annotated", "another: int = 1\n    max_length: Annotated")
    edit("pipeline/units/execution.py", "_written_at > 1", "_written_at > 2")
    assert code_digests(TRAIN) == digests


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("pipeline/models/batching.py", "WINDOW_BATCHES = 50", "WINDOW_BATCHES = 40", "WINDOW_BATCHES"),
        (
            "pipeline/training/parameter_groups.py",
            "parameter.ndim > 1 and",
            "parameter.ndim > 2 and",
            "parameter_groups",
        ),
        ("pipeline/reproducibility.py", "% 2**31", "% 2**30", "derive_seed"),
        ("pipeline/training/loop.py", "log = logging", "torch.manual_seed(1)\nlog = logging", ""),
    ],
)
def test_what_reaches_the_code_changes_its_own_digest_only(digests, edit, file, old, new, changed) -> None:
    edit(file, old, new)
    after = code_digests(TRAIN)
    assert {name for name in after if after[name] != digests.get(name)} == {changed, LINKS}


def test_how_numerics_are_fixed_is_in_the_key_of_every_unit(params: Params, edit) -> None:
    def keys() -> list[str]:
        encoder, stitch, baseline = (
            encoder_recipe(params, "bert"),
            stage_recipe(params, "stitch"),
            stage_recipe(params, "baseline"),
        )
        tables = [stitch["states"], stitch["train"], stitch["predict"], baseline["units"]]
        return [encoder["train"], encoder["predict"], *(key for table in tables for key in table.values())]

    before = keys()
    edit("pipeline/reproducibility.py", "torch.set_num_threads(n_threads)", "torch.set_num_threads(1)")
    assert not set(before) & set(keys())


@pytest.mark.parametrize(("old", "new"), [("(0, 1)", "(0, 2)"), ("NEEDED_ERRORS = 1.0", "NEEDED_ERRORS = 2.0")])
def test_what_stacking_reads_of_a_metric_without_a_call_is_in_its_recipe(params: Params, edit, old, new) -> None:
    before = stage_recipe(params, "stack")
    edit("pipeline/ensemble/metrics/accuracy.py", old, new)
    assert stage_recipe(params, "stack") != before


def test_modules_that_move_change_no_recipe(params: Params, edit, root: Path) -> None:
    def recipes() -> list[dict]:
        return [encoder_recipe(params, "bert"), *(stage_recipe(params, stage) for stage in STAGES)]

    before = recipes()
    moves = {
        "pipeline.training.parameter_groups": "pipeline.models.rates",
        "pipeline.artifacts.table": "pipeline.data.manifest",
        "pipeline.text.words": "pipeline.words",
    }
    for old, new in moves.items():
        root.joinpath(*old.split(".")).with_suffix(".py").rename(root.joinpath(*new.split(".")).with_suffix(".py"))
        for path in root.rglob("*.py"):
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    forget()
    assert recipes() == before


# Ways in which code can hide: the file that names what is in pipeline/hidden.py, which then changes.
HIDDEN = """\
class Base:
    def value(self) -> int:
        return 1


def value() -> int:
    return 1


def decorated(function):
    return function if value() else None
"""
WAYS = {
    "annotation": "from pipeline.hidden import Base\ndef main(base: Base): return base.value()",
    "quoted": "from pipeline.hidden import Base\ndef main(base: 'Base'): return base.value()",
    "type-checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline.hidden import Base\n"
    "def main(base: 'Base'): return base.value()",
    "inside-quotes": "from pipeline.hidden import Base\ndef main(bases: 'list[Base]'): return bases[0].value()",
    "quoted-inside": "from pipeline.hidden import Base\ndef main(bases: list['Base']): return bases[0].value()",
    "returned": "from pipeline.hidden import Base\ndef make() -> 'Base': ...\ndef main(): return make().value()",
    "field": "from pipeline.hidden import Base\nclass Holder:\n    base: 'Base'\n"
    "def main(holder: Holder): return holder.base",
    "alias-of-types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline.hidden import Base\n"
    "    Bases = list[Base]\ndef main(bases: 'Bases'): return bases[0].value()",
    "cast": "from typing import cast\nfrom pipeline.hidden import Base\ndef main(one): return cast('Base', one)",
    "untyped": "def main(base): return base.value()",
    "any": "from typing import Any\ndef main(base: Any): return base.value()",
    "any-field": "from typing import Any\nclass main:\n    base: Any\n    def run(self): return self.base.value()",
    "module": "from pipeline import hidden\ndef main(): return hidden.value()",
    "module-as-value": "from pipeline import hidden\ndef main(): return run(hidden)\ndef run(one: object): ...",
    "renamed": "from pipeline.hidden import value as v\ndef main(): return v()",
    "handed-on": "from pipeline.other import value\ndef main(): return value()",
    "inside": "def main():\n    from pipeline.hidden import value\n    return value()",
    "try": "try:\n    from pipeline.hidden import value\nexcept ImportError:\n    value = None\ndef main(): return value()",
    "except": "try:\n    import fast\nexcept ImportError:\n    from pipeline.hidden import value\ndef main(): return value()",
    "bound-by-a-statement": "from pipeline.hidden import value\nif value():\n    x = 1\ndef main(): return x",
    "bound-by-a-statement-elsewhere": "from pipeline.bound import limit\ndef main(): return limit",
    "default": "from pipeline.hidden import value\ndef main(x=value): return x",
    "decorator": "from pipeline.hidden import decorated\n@decorated\ndef main(): ...",
    "base-class": "from pipeline.hidden import Base\nclass main(Base): ...",
    "attribute-of-a-class": "from pipeline.hidden import value\nclass main: ...\nmain.x = value()",
    "runs-on-import": "import os\nfrom pipeline.hidden import value\nos.environ['X'] = str(value())\ndef main(): ...",
    "method-of-params": "def main(settings): return settings.flows",
}


@pytest.mark.parametrize("way", WAYS)
def test_no_code_hides(root: Path, way: str) -> None:
    package = root / "pipeline"
    (package / "params").mkdir(parents=True)
    (root / "stages").mkdir()
    for path in (package / "__init__.py", package / "params" / "__init__.py"):
        path.touch()
    (package / "hidden.py").write_text(HIDDEN, encoding="utf-8")
    (package / "other.py").write_text("from pipeline.hidden import value\n", encoding="utf-8")
    section = "from pipeline.hidden import value\nclass Step:\n    @property\n    def flows(self): return value()\n"
    (package / "params" / "steps.py").write_text(section, encoding="utf-8")
    bound = "from pipeline.hidden import value\nif value():\n    limit = 1\n"
    (package / "bound.py").write_text(bound, encoding="utf-8")
    (package / "main.py").write_text(WAYS[way] + "\n", encoding="utf-8")
    before = code_digests(MAIN)
    change(package / "hidden.py", "return 1", "return 2")
    assert code_digests(MAIN) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from scipy.special import softmax", "from torch import softmax"),
        ("from pipeline.a import f", "from pipeline.b import f"),
    ],
    ids=["library", "definition-of-the-same-name"],
)
def test_what_a_name_means_is_part_of_the_digest(root: Path, old: str, new: str) -> None:
    package = root / "pipeline"
    package.mkdir()
    (root / "stages").mkdir()
    for name, body in (("a", "return g()\ndef g(): return 1"), ("b", "return g()\ndef g(): return 2")):
        (package / f"{name}.py").write_text(f"def f(): {body}\n", encoding="utf-8")
    main = f"{old}\nfrom pipeline.a import g as one\nfrom pipeline.b import g as two\n"
    both = "def main(): return softmax, f, one, two\n" if "scipy" in old else "def main(): return f(), one, two\n"
    (package / "main.py").write_text(main + both, encoding="utf-8")
    before = code_digests(MAIN)
    change(package / "main.py", old, new)
    assert code_digests(MAIN) != before


@pytest.mark.parametrize("statement", ["import pipeline.a", "from . import a", "from pipeline.a import *"])
def test_an_import_that_cannot_be_followed_is_an_error(root: Path, statement: str) -> None:
    (root / "pipeline").mkdir()
    (root / "pipeline" / "main.py").write_text(f"{statement}\ndef main(): ...\n", encoding="utf-8")
    with pytest.raises(ValueError, match="which can be followed"):
        code_digests(MAIN)


def test_a_component_is_a_start_of_its_own() -> None:
    assert {"MinPooling", "MaxPooling"} <= set(code_digests([("pipeline.models.poolings.min", "build")]))


def test_a_start_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="defines no nothing"):
        code_digests([("pipeline.training.loop", "nothing")])


def test_an_optimizer_that_another_names_and_its_librarys_version_are_in_the_key(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(optimizer: object) -> tuple[str, str]:
        bert = Encoder.model_validate({**plain(params.encoders["bert"]), "optimizer": optimizer})
        stitch = params.stitch.model_copy(update={"optimizer": bert.optimizer})
        whole = params.model_copy(update={"encoders": {**params.encoders, "bert": bert}, "stitch": stitch})
        trained = stage_recipe(whole, "stitch")["train"]
        return encoder_recipe(whole, "bert")["train"], next(iter(trained.values()))

    def plain(encoder: Encoder) -> dict[str, object]:
        return {name: getattr(encoder, name) for name in type(encoder).model_fields}

    over = {"name": "lookahead", "optimizer": "lion"}
    keys = [key("adamw"), key("lookahead"), key(over)]
    monkeypatch.setattr(sources, "version", lambda library: "0.0.0")
    keys += [key(over), key("adamw")]
    assert keys[-1] == keys[0]
    assert [len(set(of_stage)) for of_stage in zip(*keys[:-1], strict=True)] == [4, 4]
