"""The jobs that every worker runs beside its requests. Each is a row of `list_jobs`, with its name, how often, what and
where.

Every worker looks at every job. Where something is to be done once for all workers, a conditional statement decides
which worker does it; `docs/decisions/jobs.md` says why there is no queue."""

import dataclasses
from collections.abc import Callable

import structlog

from bridge import versions
from bridge.accounts.password_reset import write_reset_mails
from bridge.accounts.tickets import forget_old_tickets
from bridge.acts import forget_old_acts
from bridge.catalogue.channel_events import delete_old_events
from bridge.catalogue.incident_watch import watch_incidents
from bridge.catalogue.outcomes import delete_old_outcomes
from bridge.config import Settings
from bridge.daily import LEDGER_CHECK
from bridge.db import db
from bridge.errors import ServiceUnavailable
from bridge.inference.services import Services
from bridge.ledger.alerts import queue_balance_alerts
from bridge.ledger.attempt_errors import delete_old_errors
from bridge.ledger.budget_alerts import delete_old_windows, queue_budget_alerts
from bridge.ledger.first_operator import issue_link_again
from bridge.ledger.idempotency import delete_expired_keys
from bridge.ledger.label_rollups import roll_up_labels
from bridge.ledger.model_days import delete_old_days, roll_up_models
from bridge.ledger.rollups import roll_up
from bridge.ledger.sweep import apply_spools, sweep
from bridge.ledger.totals import roll_up_totals
from bridge.limits.refusals import delete_old_refusals
from bridge.mail.outbox import send_due
from bridge.ops.channel_alerts import queue_channel_alerts
from bridge.ops.connect import print_operator_link
from bridge.ops.margin_alerts import queue_margin_alerts
from bridge.ops.nightly import check_nightly
from bridge.ops.probes import check_idle
from bridge.ops.trouble_alerts import queue_trouble_alerts
from bridge.payments.approvals import expire_approvals
from bridge.payments.auto import detach_forgotten, top_up_due
from bridge.payments.leaving import erase_labels
from bridge.payments.merging import move_leftovers
from bridge.payments.plan_upkeep import keep_subscriptions
from bridge.reasoning.items import forget_items
from bridge.reasoning.reasoning import forget_reasoning

EACH_WORKER = "each worker"  # it works on the process's own state
ONCE_PER_FLEET = "once per fleet"  # it works on shared state: the first worker does it, and no other
TICK_SECONDS = 1.0
RENEWALS_IN_A_LEASE = 4  # so that a busy moment loses none
NOTES_EVERY_SECONDS = 2.0
MARK_EVERY_SECONDS = 2.0
FORGET_EVERY_SECONDS = 600.0
ROLL_UP_EVERY_SECONDS = 15.0
INCIDENT_LOOK_SECONDS = 5.0
NIGHTLY_LOOK_SECONDS = 60.0
MARGIN_LOOK_SECONDS = 30.0
LOOKS_IN_A_PERIOD, LEAST_LOOK_SECONDS = 4, 1.0  # for idle channels
SECONDS_IN_A_MINUTE = 60
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """A job. `run` is called every `seconds` in each worker, and also at its start if `at_once`. Of a daily job, later
    calls on the same day find nothing to do. `wanted`: whether the settings need the job."""

    name: str
    seconds: float
    run: Callable[[Services], None]
    where: str
    at_once: bool = False
    once_a_day: bool = False
    wanted: bool = True

    @property
    def description(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.run.__doc__ or "").split())

    @property
    def period(self) -> str:
        """`30 s`, `10 min` or `once a day`."""
        if self.once_a_day:
            return "once a day"
        minutes, rest = divmod(self.seconds, SECONDS_IN_A_MINUTE)
        return f"{minutes:g} min" if minutes and not rest else f"{self.seconds:g} s"


def list_jobs(settings: Settings) -> tuple[Job, ...]:
    """All jobs, in the order in which a worker begins them."""
    poll, mail, top_up = settings.version_poll_seconds, settings.mail_seconds, settings.auto_top_up_seconds
    lease_part = settings.lease_seconds / RENEWALS_IN_A_LEASE
    look = max(LEAST_LOOK_SECONDS, settings.probe_seconds / LOOKS_IN_A_PERIOD)
    redis, stripe = bool(settings.redis_url), settings.top_ups_open
    return (
        Job("changes", poll, look_for_changes, EACH_WORKER),
        Job("last minute", TICK_SECONDS, record_last_minute, EACH_WORKER),
        Job("sweep", settings.sweep_seconds, resolve, ONCE_PER_FLEET, at_once=True),
        Job("shared health", poll, exchange_health, EACH_WORKER, at_once=True, wanted=redis),
        Job("leases", lease_part, renew_leases, EACH_WORKER, wanted=redis),
        Job("marks", MARK_EVERY_SECONDS, mark_streams, EACH_WORKER),
        Job("notes", NOTES_EVERY_SECONDS, write_notes, EACH_WORKER),
        Job("idle channels", look, check_channels, ONCE_PER_FLEET, wanted=settings.probe_seconds > 0),
        Job("incidents", INCIDENT_LOOK_SECONDS, look_for_incidents, ONCE_PER_FLEET, at_once=True),
        Job("kept reasoning", FORGET_EVERY_SECONDS, delete_reasoning, ONCE_PER_FLEET),
        Job("kept items", FORGET_EVERY_SECONDS, delete_items, ONCE_PER_FLEET),
        Job("idempotency keys", FORGET_EVERY_SECONDS, delete_idempotency_keys, ONCE_PER_FLEET),
        Job("budgets", FORGET_EVERY_SECONDS, delete_budgets, ONCE_PER_FLEET),
        Job("refusals", FORGET_EVERY_SECONDS, delete_refusals, ONCE_PER_FLEET),
        Job("attempt errors", FORGET_EVERY_SECONDS, delete_attempt_errors, ONCE_PER_FLEET),
        Job("tickets", FORGET_EVERY_SECONDS, delete_tickets, ONCE_PER_FLEET),
        Job("first operator", FORGET_EVERY_SECONDS, print_link_again, ONCE_PER_FLEET),
        Job("merged accounts", FORGET_EVERY_SECONDS, move_merged_money, ONCE_PER_FLEET),
        Job("deleted accounts", FORGET_EVERY_SECONDS, erase_deleted_accounts, ONCE_PER_FLEET),
        Job("channel events", FORGET_EVERY_SECONDS, delete_channel_events, ONCE_PER_FLEET),
        Job("roll-ups", ROLL_UP_EVERY_SECONDS, roll_up_usage, ONCE_PER_FLEET),
        Job("balance alerts", mail, write_balance_alerts, ONCE_PER_FLEET),
        Job("budget alerts", mail, write_budget_alerts, ONCE_PER_FLEET),
        Job("channel alerts", mail, write_channel_alerts, ONCE_PER_FLEET),
        Job("password resets", mail, answer_reset_requests, ONCE_PER_FLEET),
        Job("mails", mail, send_mails, ONCE_PER_FLEET),
        Job("margin alerts", MARGIN_LOOK_SECONDS, write_margin_alerts, ONCE_PER_FLEET, at_once=True),
        Job(LEDGER_CHECK, NIGHTLY_LOOK_SECONDS, check_ledger, ONCE_PER_FLEET, at_once=True, once_a_day=True),
        Job("automatic top-ups", top_up, charge_cards, ONCE_PER_FLEET, wanted=stripe),
        Job("forgotten cards", top_up, detach_cards, ONCE_PER_FLEET, wanted=stripe),
        Job("subscriptions", top_up, look_after_subscriptions, ONCE_PER_FLEET, wanted=stripe),
    )


def look_for_changes(services: Services) -> None:
    """Learn what other workers and commands have changed: keys, accounts, models, channels."""
    versions.poll(db.engine)
    services.read_catalogue_ahead()


def record_last_minute(services: Services) -> None:
    """Note how many requests were served and how many failed so far: `/readyz` compares it with a minute ago. Add up
    what `/metrics` shows."""
    services.last_minute.tick()
    services.notes.add_up(services.in_flight, len(services.streams))


def resolve(services: Services) -> None:
    """End what nobody else will: spooled settlements and, once all of them are in, the holds past their deadline."""
    try:
        apply_spools(services.spool, services.writer)
    except ServiceUnavailable:
        log.warning("spool_waits")
        return
    sweep(services.writer)


def exchange_health(services: Services) -> None:
    """Hear which channels other workers found out."""
    services.health.exchange()


def renew_leases(services: Services) -> None:
    """Let the concurrency leases of this worker's requests live on, and put back those that Redis has lost."""
    services.counters.renew()


def mark_streams(services: Services) -> None:
    """Note what the open streams have delivered since the last time: a worker that is killed charges so much. Close
    those that their client keeps open for too long."""
    for stream in list(services.streams):
        stream.let_go()
    services.writer.write_marks([mark for stream in list(services.streams) if (mark := stream.mark()) is not None])


def write_notes(services: Services, at_the_end: bool = False) -> None:
    """Write what was gathered since the last time, in one go: channels' health, timeline and counts, keys' last use,
    refusals, and what failed attempts were answered."""
    services.health.write_notes(at_the_end=at_the_end)
    services.write_keys_used(all_of_them=at_the_end)
    services.refusals.write()
    services.attempt_errors.write()


def check_channels(services: Services) -> None:
    """Send one token through each channel that nobody has used for `PROBE_SECONDS`."""
    check_idle(services)


def look_for_incidents(services: Services) -> None:
    """Open an incident where channels fail; close it when its models have been well for `INCIDENT_QUIET_SECONDS`."""
    watch_incidents(services.settings.incident_quiet_seconds)


def delete_reasoning(services: Services) -> None:
    """Delete kept reasoning that is older than a day."""
    forget_reasoning()


def delete_items(services: Services) -> None:
    """Delete the output items of answers that are older than an hour."""
    forget_items()


def delete_idempotency_keys(services: Services) -> None:
    """Delete idempotency keys with their answers after a day, and those that dead workers left."""
    delete_expired_keys()


def delete_channel_events(services: Services) -> None:
    """Delete what is older than 30 days from the channels' timelines and counts, and what is older than 100 days of
    models' calls."""
    delete_old_events()
    delete_old_outcomes()
    delete_old_days()


def delete_budgets(services: Services) -> None:
    """Delete what was spent of budgets in periods that ended a month ago."""
    delete_old_windows()


def delete_refusals(services: Services) -> None:
    """Delete counts of refused requests that are older than 100 days, or of deleted accounts."""
    delete_old_refusals()


def delete_attempt_errors(services: Services) -> None:
    """Delete what upstreams answered to attempts that failed more than a week ago, or of deleted accounts."""
    delete_old_errors()


def roll_up_usage(services: Services) -> None:
    """Add the requests that were settled since the last time to the roll-ups."""
    roll_up()
    roll_up_labels()
    roll_up_totals()
    roll_up_models()


def write_budget_alerts(services: Services) -> None:
    """Write a mail for each budget of a key that is nearly spent, or used up."""
    queue_budget_alerts(services.settings)


def write_balance_alerts(services: Services) -> None:
    """Write a mail for each balance that fell below its owner's threshold."""
    queue_balance_alerts(services.settings)


def write_channel_alerts(services: Services) -> None:
    """Write a mail to operators for each channel that needs them, each refused key and each channel that has been
    failing for five minutes, and one when that is over."""
    queue_channel_alerts(services.settings)
    queue_trouble_alerts(services.settings)


def write_margin_alerts(services: Services) -> None:
    """Write a mail to operators when a model begins to be sold below cost, and one when it no longer is."""
    queue_margin_alerts(services.settings)


def answer_reset_requests(services: Services) -> None:
    """Write a mail for each request to reset a password whose address belongs to a member."""
    write_reset_mails(services.settings)


def delete_tickets(services: Services) -> None:
    """Delete links and challenges that are over, and lines of the audit log that are older than a year; end what nobody
    has approved in time."""
    forget_old_tickets()
    forget_old_acts()
    expire_approvals()


def print_link_again(services: Services) -> None:
    """Print another link for the first operator when the last one is over, while there is no operator."""
    print_operator_link(issue_link_again(services.settings))


def move_merged_money(services: Services) -> None:
    """Let what has come free since in merged accounts follow to those that stayed."""
    move_leftovers()


def erase_deleted_accounts(services: Services) -> None:
    """Take end users and tags out of the usage of accounts that were deleted an hour ago."""
    erase_labels()


def send_mails(services: Services) -> None:
    """Send the mails that are due."""
    send_due(services.settings)


def check_ledger(services: Services) -> None:
    """Check the books from `NIGHTLY_HOUR` on, mail operators what differs, and delete old mails."""
    check_nightly(services.settings)


def charge_cards(services: Services) -> None:
    """Charge kept cards where balances are low, and switch off rules that no longer fit the settings."""
    top_up_due(services.settings)


def detach_cards(services: Services) -> None:
    """Remove at Stripe the cards that their owners had us forget."""
    detach_forgotten(services.settings)


def look_after_subscriptions(services: Services) -> None:
    """End at Stripe the plans that ended here, and ask about those of which nothing was heard in time."""
    keep_subscriptions(services.settings)
