"""`flask drill` in this process: what it prints about a stream, which account it uses, and how it fails."""

import pytest
from flask import Flask

from tests.factories import DOLLAR, Factories


@pytest.fixture
def engine() -> str:
    return "sqlite"


def test_a_stream_is_printed_as_it_comes_and_the_first_operator_asks(app: Flask, make: Factories):
    operator, model = make.make_account(is_operator=True), make.make_model()
    result = app.test_cli_runner().invoke(args=["drill", model, "--fault", "cut", "--stream"])
    assert result.exit_code == 0, result.output
    assert " ms  data: " in result.output
    assert result.output.index("[drill]") < result.output.index("upstream_error")
    assert "1        drill    the answer was cut off" in result.output
    assert "You paid for the prompt and for what had arrived until then" in result.output
    assert "Balance $10.00 before, $10.00 after." in result.output
    assert make.find_money(operator.id) == (10 * DOLLAR, 0)
    assert make.check_ledger() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gpt-4o", "--fault", "flood"), "'flood' is not one of"),
        (("gpt-4o", "--fault", "500", "--account", "nobody@example.com"), "Nobody signs in as nobody@example.com"),
        (("gpt-4o", "--fault", "500"), "There is no operator yet"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(app: Flask, arguments: tuple[str, ...], said: str):
    result = app.test_cli_runner().invoke(args=["drill", *arguments])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert said in result.output
    assert len(result.output.splitlines()) == 1
