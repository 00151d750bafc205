"""Rows by the thousand, written straight into a scratch database in PostgreSQL: accounts, usage, channels. The ledger's
check still finds every balance exact."""

import psycopg

from bench.gateway import model_of
from bridge.accounts.key_format import digest, make_secret
from bridge.catalogue.price_snapshot import COUNTS
from bridge.catalogue.tables import Channel
from bridge.ledger.tables import UsageRecord

LIMITS = "100000000, 100000000000, 100000"  # limits that nobody reaches
SPREAD = "interval '30 days'"


def add_accounts(database_url: str, count: int) -> tuple[str, ...]:
    """Add accounts, each with the same credit as the first and a key with limits. Returns the secrets."""
    secrets = [make_secret() for _ in range(count)]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "INSERT INTO accounts (name, status, created_at) SELECT 'bench ' || n, 'active', now()"
            " FROM generate_series(1, %s) n RETURNING id",
            (count,),
        ).fetchall()
        accounts = [row[0] for row in rows]
        connection.execute(
            "INSERT INTO entries (account_id, debit, credit, amount_nanos, source, note, made_by, created_at)"
            " SELECT n, debit, credit, amount_nanos, source, note, made_by, created_at FROM"
            " (SELECT * FROM entries ORDER BY id LIMIT 1) credit, unnest(%s::bigint[]) n",
            (accounts,),
        )
        connection.execute(
            "INSERT INTO balances (account_id, balance_nanos, held_nanos, debt_nanos)"
            " SELECT account_id, amount_nanos, 0, 0 FROM entries WHERE account_id = ANY (%s)",
            (accounts,),
        )
        columns = "account_id, digest, last_four, name, rpm, tpm, concurrency, budget_user_period, created_at"
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO keys ({columns}) VALUES (%s, %s, %s, 'bench', {LIMITS}, 'total', now())",
                [(account, digest(secret), secret[-4:]) for account, secret in zip(accounts, secrets, strict=True)],
            )
        _analyze(connection)
    return tuple(secrets)


def add_usage(database_url: str, count: int) -> None:
    """Add copies of a served request over the last thirty days, without tokens, so that they cost nothing."""
    columns = ", ".join(UsageRecord.__table__.columns.keys())
    changed = {
        "created_at": f"created_at - n * {SPREAD} / {count}",
        "request_id": "'req_' || md5(n::text)",
        "charge_nanos": "0",
        "loss_nanos": "0",
        **dict.fromkeys(COUNTS, "0"),
    }
    values = ", ".join(changed.get(name, name) for name in UsageRecord.__table__.columns.keys())  # noqa: SIM118
    with psycopg.connect(database_url) as connection:
        connection.execute(
            f"INSERT INTO usage ({columns}) SELECT {values} FROM"
            f" (SELECT * FROM usage WHERE state = 'captured' LIMIT 1) one, generate_series(1, {count:d}) n"
        )
        _analyze(connection)


def add_keys(database_url: str, count: int) -> int:
    """Add keys to the first account, with budgets, a tenth of them revoked. Returns the first one's id; the others
    follow without a gap."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "INSERT INTO keys (account_id, digest, last_four, name, rpm, budget_month_nanos, budget_user_period,"
            " created_at, last_used_at, revoked_at)"
            " SELECT (SELECT min(id) FROM accounts), sha256(n::text::bytea), right(md5(n::text), 4), 'key ' || n, 600,"
            " CASE WHEN n % 2 = 0 THEN 50000000000 END, 'day', now() - n * interval '1 minute',"
            " now() - n * interval '1 second', CASE WHEN n % 10 = 0 THEN now() END"
            f" FROM generate_series(1, {count:d}) n RETURNING id"
        ).fetchall()
    return int(rows[0][0])


def add_members(database_url: str, count: int, first_key: int, keys: int) -> None:
    """Add members to the first account, developers with a budget each, and give them these keys by turns."""
    with psycopg.connect(database_url) as connection:
        first = connection.execute(
            "INSERT INTO members (account_id, email, password_hash, role, is_operator, name, time_zone, created_at)"
            " SELECT (SELECT min(id) FROM accounts), 'developer-' || n || '@example.com', '-', 'owner', false,"
            f" 'Developer ' || n, '', now() FROM generate_series(1, {count:d}) n RETURNING id"
        ).fetchone()
        assert first
        connection.execute(
            "INSERT INTO memberships (account_id, member_id, role, budget_month_nanos, joined_at)"
            " SELECT account_id, id, 'developer', 50000000000, now() FROM members WHERE id >= %s",
            first,
        )
        connection.execute(
            f"UPDATE keys SET member_id = %s + id %% {count:d} WHERE id >= {first_key:d} AND id < {first_key + keys:d}",
            first,
        )


def add_month(database_url: str, count: int, first_key: int, keys: int) -> str:
    """Add requests of these keys of the first account in the last thirty days: of ten models, with end users and tags;
    one in fifty failed. They have no tokens and cost nothing, so that the ledger's check holds. Returns the id of
    one."""
    table = UsageRecord.__table__
    one = {
        "created_at": f"now() - n * {SPREAD} / {count:d}",
        "settled_at": f"now() - n * {SPREAD} / {count:d}",
        "request_id": "'req_' || md5(n::text)",
        "account_id": "(SELECT min(id) FROM accounts)",
        "key_id": f"{first_key:d} + n % {keys:d}",
        "state": "CASE WHEN n % 50 = 0 THEN 'released' ELSE 'captured' END",
        "outcome": "CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'complete' END",
        "status": "CASE WHEN n % 50 = 0 THEN 503 ELSE 200 END",
        "endpoint": "'chat'",
        "model_asked": "'model-' || n % 10",
        "model_id": "'model-' || n % 10",
        "channel_name": "'channel-' || n % 3",
        "stream": "true",
        "tokens_source": "'provider'",
        "attempts": "'[]'",
        "price_id": "(SELECT min(id) FROM prices)",
        "first_content_ms": "n % 1000",
        "total_ms": "n % 9000",
        "end_user": "'user-' || n % 100",
        "tags": """'["env=' || (ARRAY['prod', 'staging', 'dev'])[1 + n % 3] || '"]'""",
    }
    needed = [column.name for column in table.columns if not column.nullable and column.name not in one]
    columns = {**one, **dict.fromkeys(needed, "0")}
    with psycopg.connect(database_url) as connection:
        indexes = connection.execute(  # made anew they take a fraction of the time
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'usage' AND indexname NOT LIKE 'pk_%'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"')
        connection.execute(
            f"INSERT INTO usage ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
            f" FROM generate_series(1, {count:d}) n"
        )
        for _, definition in indexes:
            connection.execute(definition)
        found = connection.execute("SELECT request_id FROM usage WHERE state = 'captured' LIMIT 1").fetchone()
        assert found
        _analyze(connection)
    return str(found[0])


def add_customers(database_url: str, count: int) -> None:
    """Add accounts with an owner, a key and five requests each in the last thirty days, which cost nothing."""
    with psycopg.connect(database_url) as connection:
        first = connection.execute("SELECT max(id) + 1 FROM accounts").fetchone()
    assert first
    add_accounts(database_url, count)
    columns = [name for name in UsageRecord.__table__.columns.keys() if name != "number"]  # noqa: SIM118
    changed = {
        "account_id": "key.account_id",
        "key_id": "key.id",
        "request_id": "'req_' || md5(key.id || '-' || n)",
        "created_at": f"now() - n * {SPREAD} / 6 + key.id * interval '1 second'",
    }
    values = ", ".join(changed.get(name, f"one.{name}") for name in columns)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO members (account_id, email, password_hash, role, is_operator, name, time_zone, created_at)"
            " SELECT id, 'member-' || id || '@example.com', '-', 'owner', false, '', '', now()"
            " FROM accounts WHERE id >= %s",
            first,
        )
        connection.execute(
            "INSERT INTO memberships (account_id, member_id, role, joined_at)"
            " SELECT account_id, id, 'owner', now() FROM members WHERE account_id >= %s",
            first,
        )
        connection.execute(
            f"INSERT INTO usage ({', '.join(columns)}) SELECT {values} FROM keys key, generate_series(1, 5) n,"
            " (SELECT * FROM usage WHERE state = 'captured' LIMIT 1) one WHERE key.account_id >= %s",
            first,
        )
        _analyze(connection)


def add_refusals(database_url: str, first_key: int, keys: int) -> None:
    """Add refusals of these keys of the first account: two codes, each day of the last thirty, by a key in ten."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO refusals (account_id, start, key_id, code, model_id, status, requests, last_at, last_message,"
            " last_model, last_request_id)"
            " SELECT (SELECT min(id) FROM accounts), start, key_id, code, 'model-' || key_id % 10, 429, 3, start,"
            " 'Too many.', 'model-' || key_id % 10, 'req_' || md5(key_id::text)"
            f" FROM generate_series(date_trunc('hour', now()) - {SPREAD}, now(), interval '1 day') start,"
            f" generate_series({first_key:d}, {first_key + keys - 1:d}, 10) key_id,"
            " unnest(ARRAY['rate_limit_exceeded', 'key_budget_exceeded']) code"
        )
        _analyze(connection)


def add_payment(database_url: str) -> str:
    """Add a payment of the first account whose page at Stripe is open, so that no money has moved. Returns its id."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "INSERT INTO payments (id, account_id, kind, state, amount_minor, currency, credit_nanos, returned_nanos,"
            " keeps_card, created_at) SELECT 'pay_' || md5('bench'), min(id), 'checkout', 'open', 2000, 'usd',"
            " 20000000000, 0, false, now() FROM accounts RETURNING id"
        ).fetchone()
    assert row
    return str(row[0])


def add_plan(database_url: str) -> str:
    """Add a plan, which the first account has. Returns its id."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "INSERT INTO plans (code, name, description, fee_minor, currency, worth_nanos, credit_nanos, rpm,"
            " is_listed, made_by, created_at)"
            " VALUES ('bench', 'Bench', '', 2000, 'usd', 20000000000, 0, 600, true, 'bench', now()) RETURNING id"
        ).fetchone()
        assert row
        connection.execute(
            "INSERT INTO subscriptions (id, account_id, plan_id, state, must_end, version, asked_at, made_by,"
            " created_at) SELECT 'sbs_' || md5('bench'), min(id), %s, 'active', false, 0, now(), 'bench', now()"
            " FROM accounts",
            row,
        )
    return str(row[0])


def add_channels(database_url: str, count: int) -> None:
    """Add copies of the mock's channel until there are `count`. Workers learn of them within a second or two."""
    names = [name for name in Channel.__table__.columns.keys() if name not in ("id", "name")]  # noqa: SIM118
    columns = ", ".join(names)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            f"INSERT INTO channels (name, {columns}) SELECT name || '-' || n, {columns}"
            " FROM channels, generate_series(2, %s) n WHERE name = 'openai-mock'",
            (count,),
        )
        connection.execute("UPDATE versions SET number = number + 1 WHERE topic = 'catalogue'")
        found = connection.execute("SELECT count(*) FROM channels WHERE provider = 'openai'").fetchone()
    assert found == (count,), f"{found} channels serve {model_of('openai')}"


def _analyze(connection: psycopg.Connection) -> None:
    connection.commit()
    connection.autocommit = True
    connection.execute("ANALYZE")
    connection.autocommit = False
