"""How the gateway itself fares: the nightly check of the ledger, and where mails go."""

from flask import current_app, render_template

from bridge.admin.door import admin
from bridge.catalogue.listing import list_needing
from bridge.config import Settings
from bridge.daily import list_days
from bridge.mail.outbox import count_mails
from bridge.mail.smtp import find_server

LEDGER_CHECK = "ledger check"


@admin.get("/system")
def show_system() -> str:
    settings: Settings = current_app.config["BRIDGE"]
    return render_template(
        "admin/system.html",
        days=list_days(LEDGER_CHECK),
        hour=settings.nightly_hour,
        server=find_server(settings),
        development=settings.development,
        mails=count_mails(),
        needing=list_needing(),
    )
