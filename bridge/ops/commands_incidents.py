"""`flask incident`: what the status page tells of trouble, as the operators' page writes it."""

import click

from bridge.acts import COMMAND
from bridge.catalogue.incidents import (
    DOWN,
    EFFECTS,
    STATES,
    correct_incident,
    correct_update,
    find_incident,
    list_incidents,
    open_incident,
    post_update,
)
from bridge.ops.command_line import Commands, print_table

incident_commands = Commands("incident", help="What the status page and customers' banners say of trouble.")
OPEN_STATES = [state for state in STATES if state != "resolved"]


@incident_commands.command("list")
def list_() -> None:
    """List the incidents that are open, and those of the last 90 days."""
    rows = [("INCIDENT", "TITLE", "EFFECT", "STATE", "OPENED", "BY", "ENDED")]
    for one in list_incidents():
        ended = f"{one.ended_at:%Y-%m-%d %H:%M:%S}" if one.ended_at else "-"
        opened = f"{one.opened_at:%Y-%m-%d %H:%M:%S}"
        rows.append((str(one.id), one.title, one.effect, one.state, opened, one.opened_by, ended))
    print_table(rows)


@incident_commands.command("show")
@click.argument("incident", type=int)
def show(incident: int) -> None:
    """Show an incident, its models and all that was said of it."""
    one = find_incident(incident)
    click.echo(f"{one.title}\nEffect: {EFFECTS[one.effect]}. Models: {', '.join(one.models) or 'all'}.")
    rows = [("UPDATE", "WHEN", "STATE", "BY", "TEXT")]
    said = ((str(each.id), f"{each.at:%Y-%m-%d %H:%M:%S}", each) for each in one.updates)
    print_table([*rows, *((number, at, each.state, each.made_by, each.text) for number, at, each in said)])


@incident_commands.command("open")
@click.argument("title")
@click.argument("text")
@click.option("--models", default="", help="Ids or aliases, separated by commas; without it, the gateway itself.")
@click.option("--effect", type=click.Choice(list(EFFECTS)), default=DOWN, show_default=True)
@click.option("--state", type=click.Choice(OPEN_STATES), default="investigating", show_default=True)
def open_(title: str, text: str, models: str, effect: str, state: str) -> None:
    """Open an incident: TITLE is a clause, TEXT its first update."""
    names = models.replace(",", " ").split()
    click.echo(f"Opened incident {open_incident(title, text, COMMAND, models=names, effect=effect, state=state)}.")


@incident_commands.command("update")
@click.argument("incident", type=int)
@click.argument("text")
@click.option("--state", type=click.Choice(list(STATES)), required=True, help="resolved closes it.")
def update(incident: int, text: str, state: str) -> None:
    """Say what is known now."""
    post_update(incident, state, text, COMMAND)
    click.echo(f"Incident {incident}: {STATES[state].lower()}.")


@incident_commands.command("correct")
@click.argument("incident", type=int)
@click.option("--title", help="Another title; empty names what was opened by itself after its models.")
@click.option("--effect", type=click.Choice(list(EFFECTS)))
@click.option("--update", "update_id", type=int, help="The update whose text is wrong, by its number.")
@click.option("--text", help="The text that it is to have.")
def correct(incident: int, title: str | None, effect: str | None, update_id: int | None, text: str | None) -> None:
    """Put right a title, an effect, or what an update said."""
    if (update_id is None) != (text is None):
        raise click.UsageError("--update and --text go together.")
    if title is None and effect is None and update_id is None:
        raise click.UsageError("Give --title, --effect, or --update and --text.")
    known = find_incident(incident)
    if title is not None or effect is not None:
        correct_incident(incident, known.wrote_title if title is None else title, effect or known.effect, COMMAND)
    if update_id is not None and text is not None:
        correct_update(update_id, text, COMMAND)
    click.echo(f"Corrected incident {incident}.")
