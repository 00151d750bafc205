"""Operators write incidents: opened, told of, corrected and resolved on the page, and by command."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.catalogue.incident_watch import watch_incidents
from bridge.catalogue.incidents import Told, list_incidents
from bridge.catalogue.tables import Channel
from bridge.dashboard.status_snapshot import forget_status
from bridge.db import transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

PAGE = "/admin/incidents"
FIELDS = {"title": "gpt-4o is slow", "text": "We look into it.", "effect": "degraded", "state": "investigating"}


def read(client: FlaskClient, path: str) -> str:
    """A page without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", client.get(path).text))


def find_newest(app: Flask) -> Told:
    with app.app_context():
        return max(list_incidents(), key=lambda one: one.id)


def test_an_operator_opens_tells_corrects_and_resolves_an_incident(
    app: Flask, client: FlaskClient, operator: MadeAccount
):
    assert "No incidents" in read(client, PAGE)
    answer = post(client, PAGE, f"{PAGE}/new?models=gpt-4o", models="gpt-4o, gpt-4o-mini", **FIELDS)
    path = answer.headers["Location"]
    assert "gpt-4o is slow" in read(client, PAGE)
    post(client, f"{path}/updates", path, state="monitoring", text="It is qicker.")
    update = find_newest(app).updates[0]
    post(client, f"{path}/updates/{update.id}", path, text="It is quicker.")
    post(client, path, path, title="gpt-4o was slow", effect="degraded")
    forget_status()
    said = read(client, "/status")
    assert "Now: gpt-4o was slow" in said
    assert "Monitoring. It is quicker. corrected" in said
    assert operator.email not in client.get("/status").text.partition("<main")[2]
    post(client, f"{path}/updates", path, state="resolved", text="It was a cable.")
    assert find_newest(app).is_open is False
    assert "Resolved, lasted less than a minute" in read(client, path)


def test_what_is_wrong_stands_at_its_field_and_what_was_written_stays(
    client: FlaskClient, operator: MadeAccount, app: Flask
):
    answer = post(client, PAGE, f"{PAGE}/new", models="gpt-4o nothing", **FIELDS)
    assert answer.status_code == 400
    assert "There is no model &#39;nothing&#39;." in answer.text
    assert "We look into it." in answer.text
    path = post(client, PAGE, f"{PAGE}/new", **FIELDS).headers["Location"]
    answer = post(client, f"{path}/updates", path, state="identified", text=" ")
    assert answer.status_code == 400
    assert "for customers." in answer.text
    update = find_newest(app).updates[0]
    answer = post(client, f"{path}/updates/{update.id}", path, text="")
    assert answer.status_code == 400
    assert client.get(f"{PAGE}/999").status_code == 404


def test_an_automatic_incident_names_its_channels_to_operators_and_stays_while_they_fail(
    app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories
):
    model = make.make_model()
    channel = make.make_channel("http://127.0.0.1:9", model, waits=False)
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(Channel).where(Channel.name == channel).values(recent="ff"))
        watch_incidents(300)
    one = find_newest(app)
    path = f"{PAGE}/{one.id}"
    page = read(client, path)
    assert channel in page
    assert "shown to customers who use its models" in page
    answer = post(client, f"{path}/updates", path, state="resolved", text="All is well.")
    assert answer.status_code == 400
    assert f"{model} still fails" in answer.text
    post(client, path, path, title="Our provider has an outage")
    assert find_newest(app).title == "Our provider has an outage"


@pytest.mark.parametrize(("role", "status"), [("support", 303), ("viewer", 403), ("finance", 403)])
def test_who_may_write_is_by_role(app: Flask, make: Factories, role: str, status: int):
    writer, client = make.make_operator(role), app.test_client()
    sign_in(client, writer.email, writer.password)
    assert client.get(PAGE).status_code == 200
    assert ("Open an incident" in client.get(PAGE).text) == (status == 303)
    assert post(client, PAGE, PAGE, **FIELDS).status_code == status


def test_the_command_does_the_same(app: Flask):
    runner = app.test_cli_runner()
    opened = runner.invoke(args=["incident", "open", "Slow", "We look.", "--models", "gpt-4o", "--effect", "degraded"])
    number = re.findall(r"\d+", opened.output)[0]
    runner.invoke(args=["incident", "update", number, "A cabel.", "--state", "identified"])
    one = find_newest(app)
    runner.invoke(args=["incident", "correct", number, "--update", str(one.updates[0].id), "--text", "A cable."])
    runner.invoke(args=["incident", "correct", number, "--title", "Slower"])
    listed, shown = (runner.invoke(args=["incident", *more]).output for more in (["list"], ["show", number]))
    assert re.search(rf"{number} +Slower +degraded +identified", listed)
    assert "A cable." in shown
    wrong = runner.invoke(args=["incident", "correct", number])
    assert (wrong.exit_code, "Give --title" in wrong.output) == (1, True)
    assert "Resolved" not in shown
    assert runner.invoke(args=["incident", "update", number, "Done.", "--state", "resolved"]).exit_code == 0
    assert not find_newest(app).is_open
