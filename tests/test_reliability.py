"""The page of faults and tests says what the tests say."""

from tests.reliability import PAGE, SECTIONS, WITHOUT_TEST, collect, page, states_of


def test_the_page_is_made_from_the_tests_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    tests = list(collect())
    assert text == page(tests, *states_of(text, tests)), "run `make reliability`"


def test_every_row_has_a_test_or_a_reason_and_every_test_a_behaviour() -> None:
    tests = list(collect())
    rows = {f"{letter}{number}" for letter, (_, last) in SECTIONS.items() for number in range(1, last + 1)}
    tested = {row for test in tests for row in test.rows}
    assert rows - tested == set(WITHOUT_TEST)
    assert not [test.node_id for test in tests if not test.behaviour]
    assert not tested - rows
