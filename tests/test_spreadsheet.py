"""A text of a customer's is no formula in anybody's spreadsheet."""

import pytest

from bridge.spreadsheet import defuse

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "＝1",
    "＋1",
    "－1",
    "＠SUM",
    " =1",
    "\t=1",
    "\r\n=1",
    "\ufeff=1",
    "\u2212" + "1",
    "\tx",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_any_width_and_behind_any_space_is_text(text: str):
    assert defuse(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "gpt-4o", "a=b", "1-2", "ﬁne", "'=1"])
def test_plain_text_stays_as_it_is(text: str):
    assert defuse(text) == text
