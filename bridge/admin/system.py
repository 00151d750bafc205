"""The state of the gateway itself: the nightly check of the ledger, and where mails go."""

from flask import current_app, render_template

from bridge.admin.door import admin, needs_right
from bridge.catalogue.listing import list_channels_needing_operator
from bridge.config import Settings
from bridge.daily import LEDGER_CHECK, list_days
from bridge.mail.outbox import count_mails
from bridge.mail.smtp import find_server


@admin.get("/system")
@needs_right("system")
def show_system() -> str:
    settings: Settings = current_app.config["BRIDGE"]
    return render_template(
        "admin/system.html",
        days=list_days(LEDGER_CHECK),
        hour=settings.nightly_hour,
        server=find_server(settings),
        development=settings.development,
        mails=count_mails(),
        needing=list_channels_needing_operator(),
    )
