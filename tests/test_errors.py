"""Every error of the code, read as the person who gets it: where, what, what to do, and a code that fits."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.artifacts.paths import LAST_ERROR
from pipeline.errors import exceptions
from pipeline.errors.error_block import block, describe
from pipeline.errors.exceptions import CODES, MachineError, ParamsError, PipelineError
from pipeline.stage_run import exit_on_error

ROOT = Path(__file__).parent.parent
CLASSES = {
    name: member
    for name, member in vars(exceptions).items()
    if isinstance(member, type) and issubclass(member, PipelineError)
}
HOLE = "‹›"  # what an f-string fills in


def raised() -> Iterator[tuple[str, str, str | None, str]]:
    """Yield place, class, code and message template of every error that is raised with a message written there."""
    for path in sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES):
                continue
            message = _template(node.args[0]) if node.args else None
            code = next(
                (
                    ast.literal_eval(keyword.value)
                    for keyword in node.keywords
                    if keyword.arg == "code" and _is_literal(keyword)
                ),
                None,
            )
            if message is not None:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.func.id, code, message


def _is_literal(keyword: ast.keyword) -> bool:
    return isinstance(keyword.value, ast.Constant)


def _template(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None


ERRORS = list(raised())


def test_every_error_says_where_what_and_what_to_do_under_a_code_that_fits() -> None:
    assert len(ERRORS) > 200
    wrong = []
    for position, name, code, message in ERRORS:
        if code is not None and (code not in CODES or int(code[1]) != CLASSES[name].exit_code):
            wrong.append(f"{position}: {code} is no code of {name}")
        # A unit's name is put before the others; what is put together elsewhere begins with where it is.
        if name != "InterruptedRun" and ": " not in message and not message.startswith(HOLE):
            wrong.append(f"{position}: must begin with where, and a colon: {message}")
        if not message.endswith(HOLE) and not re.search(r"([.?…]|‹›) ([A-Z`\d]|‹›)", message):
            wrong.append(f"{position}: must end with what to do: {message}")
    assert not wrong, "\n".join(wrong)


def test_every_code_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    made_from_exit_codes = {"E130", "E143"}
    assert [code for code in CODES if text.count(f'"{code}"') < 2 and code not in made_from_exit_codes] == []


def test_an_error_is_one_block_and_the_same_in_json(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "finetune@bert")
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise MachineError("a/b: cannot be written. Free space.", code="E401", kept="step 800")
    assert caught.value.code == 4
    text = capsys.readouterr().err
    assert [line.split()[0] for line in text.strip().splitlines()] == ["E401", "where", "what", "mend", "why", "kept"]
    record = json.loads(LAST_ERROR.read_text(encoding="utf-8"))
    assert record["problems"] == [{"where": "a/b", "what": "cannot be written.", "mend": "Free space."}]
    assert (record["code"], record["stage"], record["exit_code"], record["kept"]) == (
        "E401",
        "finetune@bert",
        4,
        "step 800",
    )
    with exit_on_error():
        pass
    assert not LAST_ERROR.exists(), "the stage has run since"


def test_all_problems_of_params_stand_in_one_block() -> None:
    error = ParamsError(
        "params.yaml:3 seed: input should be an integer, got 'x'.\nparams.yaml:9 folds: is missing. Add it."
    )
    text = block(describe(error, stage="check"))
    assert text.count("  where ") == 2 and text.count("  why ") == 1


def test_an_unexpected_error_has_the_block_and_its_traceback(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught, exit_on_error():
        {}["key"]
    text = capsys.readouterr().err
    assert caught.value.code == 1 and text.strip().startswith("E100") and "KeyError: 'key'" in text


def test_a_command_that_looks_does_not_wipe_out_the_last_error(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    LAST_ERROR.parent.mkdir()
    LAST_ERROR.touch()
    with exit_on_error():
        pass
    assert LAST_ERROR.exists()
