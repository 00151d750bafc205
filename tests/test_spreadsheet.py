"""A text of a customer's is no formula in anybody's spreadsheet."""

import pytest

from bridge.spreadsheet import defuse, write_csv

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
    "\rx",
    "\nx",
    "\u00a0=1",
    "\u3000=1",
    "\u200b=1",
    '"=1',
    ' "+1',
    "\ufe63" + "1",
    "\ufe62" + "1",
    "\ufe66" + "1",
    "\ufe6b" + "SUM",
    "\x00=1",
    "   =1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_any_width_and_behind_any_space_is_text(text: str):
    assert defuse(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "cells"),
    [("a;=1", "a;'=1"), ("a|@x;b", "a|'@x;b"), ("a\t=1", "a\t'=1"), ("a\r\n+1", "a\r\n'+1"), ("a; -1", "a;' -1")],
)
def test_nor_is_what_another_countrys_spreadsheet_takes_for_the_next_cell(text: str, cells: str):
    assert defuse(text) == cells


def test_every_text_of_a_file_is_defused_and_numbers_stay():
    written = "".join(write_csv(["a", "b", "c", "d"], [["=1", "-0.25", -3, None], ["x", "+5", "-", "-1e5"]]))
    assert written == "a,b,c,d\r\n'=1,-0.25,-3,\r\nx,+5,'-,'-1e5\r\n"


@pytest.mark.parametrize("text", ["", "gpt-4o", "a=b", "1-2", "ﬁne", "'=1"])
def test_plain_text_stays_as_it_is(text: str):
    assert defuse(text) == text
