"""Every family of encoders does what docs/families.md says that it does."""

from pathlib import Path

import pytest

from tests.families import FAMILIES, PAGE, YES, Findings, line, tried

MAY_BE_WITHOUT = ("family", "checkpointing", "sdpa")  # what a family may lack, and the page says so


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_does_what_the_page_says(family: str, tmp_path: Path) -> None:
    findings: Findings = tried(family, tmp_path)
    assert {name: value for name, value in vars(findings).items() if value != YES and name not in MAY_BE_WITHOUT} == {}
    assert line(findings) in PAGE.read_text(encoding="utf-8").splitlines(), "run `python -m tests.families`"


def test_the_page_has_these_families_and_no_other() -> None:
    listed = [text.split("`")[1] for text in PAGE.read_text(encoding="utf-8").splitlines() if text.startswith("| `")]
    assert listed == FAMILIES
