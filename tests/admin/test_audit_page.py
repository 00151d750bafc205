"""The audit log's page: who did what, from where, before and after; found by a filter, and downloaded."""

import csv
import html
import io
import re

from flask import Flask
from flask.testing import FlaskClient

from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

PAGE = "/admin/audit"
FROM = {"REMOTE_ADDR": "192.0.2.77"}


def rows_of(client: FlaskClient, **query: str) -> list[str]:
    """The rows' texts, the newest first."""
    page = client.get(PAGE, query_string=query)
    assert page.status_code == 200
    body = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(re.sub(r"<[^>]+>", " ", html.unescape(row)).split()) for row in body.split("</tr>")[:-1]]


def read_csv(client: FlaskClient, **query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(f"{PAGE}.csv", query_string=query).text)))


def test_a_line_says_who_did_what_to_whom_before_and_after_and_from_where(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount
):
    page = f"/admin/customers/{customer.id}"
    client.environ_base.update(FROM)
    post(client, f"{page}/limits", page, rpm="60")
    post(client, f"{page}/limits", page, rpm="90")
    post(client, f"{page}/balance", page, amount="5", note="A gift")
    app.test_cli_runner().invoke(args=["account", "limits", customer.email, "--rpm", "7"])
    command, gift, changed, *_ = rows_of(client)
    assert all(word in changed for word in (operator.email, "192.0.2.77", "Account limits changed", customer.email))
    assert "rpm 60 → 90" in changed
    assert "Balance changed" in gift
    assert "+$5.00: A gift" in gift
    assert "192.0.2.77" in gift
    assert "flask command line" in command
    [line] = read_csv(client, q="rpm 60")
    assert (line["by"], line["network"], line["is_operator"]) == (operator.email, "192.0.2.77", "yes")
    assert (line["act"], line["account"], line["detail"]) == ("limits", customer.email, "rpm 60 → 90")


def test_the_filter_is_the_url(app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount):
    theirs = app.test_client()
    sign_in(theirs, customer.email, customer.password)
    page = f"/admin/customers/{customer.id}"
    post(client, f"{page}/limits", page, rpm="60")
    app.test_cli_runner().invoke(args=["account", "limits", customer.email, "--rpm", "7"])

    def found(**query: str) -> list[str]:
        return [line["act"] for line in read_csv(client, **query) if line["act"] in ("limits", "sign_in")]

    assert found() == ["limits", "limits", "sign_in", "sign_in"]
    assert found(who="command") == ["limits"]
    assert found(who="customers") == ["sign_in"]
    assert found(who="operators") == ["limits", "sign_in"]
    assert found(kind="sign-in") == ["sign_in", "sign_in"]
    assert found(by=customer.email) == ["sign_in"]
    assert found(account=customer.email) == ["limits", "limits", "sign_in"]
    assert found(q="RPM 60", account=str(customer.id)) == ["limits"]
    assert found(q=operator.email) == ["limits", "sign_in"]
    assert found(**{"from": "2020-01-01", "to": "2020-12-31"}) == []
    assert "Nothing found" in client.get(f"{PAGE}?q=nobody-of-this-name").text
    assert "Give days such as" in client.get(f"{PAGE}?from=yesterday").text


def test_pages_of_the_log_leave_nothing_out(app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories):
    for _ in range(60):
        make.make_account(0)
    seen, address = [], PAGE
    while address:
        page = client.get(address).text
        seen += re.findall(r'href="/admin/customers/(\d+)"', page)
        older = re.search(r'href="([^"]+)">Older<', page)
        address = html.unescape(older[1]) if older else ""
    assert seen == [line["account_id"] for line in read_csv(client) if line["account_id"]]
    assert len(seen) > 60


def test_an_operators_sign_ins_are_on_record_and_those_that_failed(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount
):
    for account in (operator, customer):
        with app.test_client() as stranger:
            stranger.environ_base.update(FROM)
            sign_in(stranger, account.email, "not their password").close()
    failed = [line for line in read_csv(client) if line["act"] == "sign_in_failed"]
    assert [(line["by"], line["network"], line["detail"]) for line in failed] == [
        (operator.email, "192.0.2.77", "wrong password")
    ]
    assert any(line["act"] == "sign_in" for line in read_csv(client, who="operators"))


def test_customers_do_not_read_from_where_an_operator_came(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, customers_client: FlaskClient
):
    page = f"/admin/customers/{customer.id}"
    client.environ_base.update(FROM)
    post(client, f"{page}/limits", page, rpm="60")
    told = customers_client.get("/dashboard/settings/security").text
    assert "Account limits changed" in told
    assert "192.0.2.77" not in told
    assert operator.email not in told
