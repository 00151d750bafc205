"""Tokens written to a cache have prices of their own: for the usual few minutes, and for an hour."""

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PRICES = ("cache_write_nanos_per_mtok", "cache_write_hour_nanos_per_mtok")
COUNTS = ("cache_write_tokens", "cache_write_hour_tokens")
OLD_CHECK = "input_nanos_per_mtok >= 0 AND cached_nanos_per_mtok >= 0 AND output_nanos_per_mtok >= 0"
NEW_CHECK = (
    "input_nanos_per_mtok >= 0 AND cached_nanos_per_mtok >= 0 AND cache_write_nanos_per_mtok >= 0 "
    "AND cache_write_hour_nanos_per_mtok >= 0 AND output_nanos_per_mtok >= 0"
)

# As in 0004, with the new columns. A worker that still runs the code before them settles without: it has counted what
# was written as fresh input.
CREATE = """
CREATE OR REPLACE FUNCTION ledger_commit(settlements jsonb, orders jsonb)
RETURNS TABLE (request_id text, result text, first_nanos bigint, second_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  o record;
  free bigint;
  allowance bigint;
  amount bigint;
BEGIN
  PERFORM 1 FROM balances
   WHERE account_id IN (
     SELECT h.account_id FROM holds h
      WHERE h.request_id IN (SELECT s ->> 'request_id' FROM jsonb_array_elements(settlements) s)
     UNION SELECT (j ->> 'account_id')::bigint FROM jsonb_array_elements(orders) j)
   ORDER BY account_id FOR UPDATE;

  IF jsonb_array_length(settlements) > 0 THEN
    RETURN QUERY
    WITH s AS (
      SELECT * FROM jsonb_to_recordset(settlements) AS s (
        request_id text, created_at timestamptz, state text, outcome text, status int, error_code text, endpoint text,
        model_asked text, model_id text, upstream_id text, channel_name text, stream boolean, finish_reason text,
        prompt_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, cache_write_hour_tokens bigint,
        completion_tokens bigint, reasoning_tokens bigint, tokens_source text, price_id bigint,
        input_nanos_per_mtok bigint, cached_nanos_per_mtok bigint, cache_write_nanos_per_mtok bigint,
        cache_write_hour_nanos_per_mtok bigint, output_nanos_per_mtok bigint, price_nanos bigint,
        output_cap_tokens bigint, attempts text, adapted text, first_content_ms int, total_ms int)
    ), gone AS (
      DELETE FROM holds h USING s WHERE h.request_id = s.request_id
      RETURNING h.request_id, h.account_id, h.key_id, h.amount_nanos, h.budget_start
    ), wanted AS (
      SELECT s.*, g.account_id, g.key_id, g.amount_nanos, g.budget_start,
             greatest(0, s.price_nanos - g.amount_nanos) AS excess_nanos,
             sum(greatest(0, s.price_nanos - g.amount_nanos)) OVER (
               PARTITION BY g.account_id ORDER BY s.request_id) AS excess_so_far_nanos
        FROM s JOIN gone g ON g.request_id = s.request_id
    ), charged AS (
      SELECT w.*, least(w.price_nanos, w.amount_nanos) + CASE WHEN w.excess_nanos = 0 THEN 0 ELSE greatest(0, least(
               w.excess_nanos,
               coalesce(b.balance_nanos - b.held_nanos, 0) - (w.excess_so_far_nanos - w.excess_nanos)))::bigint
             END AS charge_nanos
        FROM wanted w LEFT JOIN balances b ON b.account_id = w.account_id
    ), moved AS (
      UPDATE balances b SET held_nanos = b.held_nanos - c.hold_nanos, balance_nanos = b.balance_nanos - c.charge_nanos
        FROM (SELECT account_id, sum(amount_nanos)::bigint AS hold_nanos, sum(charge_nanos)::bigint AS charge_nanos
                FROM charged GROUP BY account_id) c
       WHERE b.account_id = c.account_id
    ), budgeted AS (
      UPDATE budgets b SET held_nanos = b.held_nanos - c.hold_nanos, spent_nanos = b.spent_nanos + c.charge_nanos
        FROM (SELECT key_id, budget_start, sum(amount_nanos)::bigint AS hold_nanos,
                     sum(charge_nanos)::bigint AS charge_nanos
                FROM charged WHERE budget_start IS NOT NULL GROUP BY key_id, budget_start) c
       WHERE b.key_id = c.key_id AND b.period_start = c.budget_start
    ), logged AS (
      INSERT INTO usage (
        request_id, created_at, account_id, key_id, hold_nanos, charge_nanos, loss_nanos, settled_at, state, outcome,
        status, error_code, endpoint, model_asked, model_id, upstream_id, channel_name, stream, finish_reason,
        prompt_tokens, cached_tokens, cache_write_tokens, cache_write_hour_tokens,
        completion_tokens, reasoning_tokens, tokens_source, price_id,
        input_nanos_per_mtok, cached_nanos_per_mtok, cache_write_nanos_per_mtok, cache_write_hour_nanos_per_mtok,
        output_nanos_per_mtok, output_cap_tokens, attempts, adapted, first_content_ms, total_ms)
      SELECT request_id, created_at, account_id, key_id, amount_nanos, charge_nanos, price_nanos - charge_nanos,
        clock_timestamp(), state, outcome,
        status, error_code, endpoint, model_asked, model_id, upstream_id, channel_name, stream, finish_reason,
        prompt_tokens, cached_tokens, coalesce(cache_write_tokens, 0), coalesce(cache_write_hour_tokens, 0),
        completion_tokens, reasoning_tokens, tokens_source, price_id,
        input_nanos_per_mtok, cached_nanos_per_mtok, coalesce(cache_write_nanos_per_mtok, input_nanos_per_mtok),
        coalesce(cache_write_hour_nanos_per_mtok, input_nanos_per_mtok),
        output_nanos_per_mtok, output_cap_tokens, attempts, adapted, first_content_ms, total_ms
      FROM charged
    )
    SELECT c.request_id, 'settled', c.charge_nanos, c.price_nanos - c.charge_nanos FROM charged c;
  END IF;

  IF jsonb_array_length(orders) = 0 THEN
    RETURN;
  END IF;

  IF NOT EXISTS (
    SELECT 1 FROM jsonb_to_recordset(orders) AS j (
        account_id bigint, amount_nanos bigint, least_nanos bigint, budget_nanos bigint)
      LEFT JOIN balances b ON b.account_id = j.account_id
     GROUP BY j.account_id, b.balance_nanos, b.held_nanos
    HAVING bool_or(j.budget_nanos IS NOT NULL) OR b.balance_nanos IS NULL
        OR sum(j.amount_nanos) + coalesce(4 * max(j.amount_nanos) FILTER (WHERE j.least_nanos < j.amount_nanos), 0)
           > b.balance_nanos - b.held_nanos
  ) THEN
    UPDATE balances b SET held_nanos = b.held_nanos + t.amount_nanos
      FROM (SELECT j.account_id, sum(j.amount_nanos)::bigint AS amount_nanos
              FROM jsonb_to_recordset(orders) AS j (account_id bigint, amount_nanos bigint) GROUP BY j.account_id) t
     WHERE b.account_id = t.account_id;
    INSERT INTO holds (request_id, account_id, key_id, amount_nanos, details, created_at, deadline_at)
    SELECT j.request_id, j.account_id, j.key_id, j.amount_nanos, j.details, j.created_at,
           clock_timestamp() + make_interval(secs => j.deadline_seconds)
      FROM jsonb_to_recordset(orders) AS j (
        request_id text, account_id bigint, key_id bigint, amount_nanos bigint, details text, created_at timestamptz,
        deadline_seconds double precision);
    RETURN;
  END IF;

  FOR o IN
    SELECT * FROM jsonb_to_recordset(orders) AS j (
      request_id text, account_id bigint, key_id bigint, amount_nanos bigint, least_nanos bigint, details text,
      created_at timestamptz, deadline_seconds double precision, budget_nanos bigint, budget_start date)
  LOOP
    second_nanos := 0;
    request_id := o.request_id;
    free := 0;
    SELECT balance_nanos - held_nanos INTO free FROM balances WHERE account_id = o.account_id;
    free := coalesce(free, 0);
    allowance := free;
    IF o.budget_nanos IS NOT NULL THEN
      INSERT INTO budgets (key_id, period_start, held_nanos, spent_nanos) VALUES (o.key_id, o.budget_start, 0, 0)
          ON CONFLICT DO NOTHING;
      SELECT greatest(0, o.budget_nanos - held_nanos - spent_nanos) INTO allowance FROM budgets
       WHERE key_id = o.key_id AND period_start = o.budget_start;
    END IF;
    amount := least(o.amount_nanos, greatest(o.least_nanos, div(least(free, allowance), 4)::bigint));
    IF amount > 0 AND amount > allowance AND o.budget_nanos IS NOT NULL THEN
      result := 'budget'; first_nanos := allowance;
      RETURN NEXT;
      CONTINUE;
    END IF;
    UPDATE balances SET held_nanos = held_nanos + amount
     WHERE account_id = o.account_id AND balance_nanos - held_nanos >= amount;
    IF amount > 0 AND NOT FOUND THEN  -- what is free needs no balance, not even a row of one
      result := 'balance'; first_nanos := free;
      RETURN NEXT;
      CONTINUE;
    END IF;
    IF o.budget_nanos IS NOT NULL THEN
      UPDATE budgets SET held_nanos = held_nanos + amount
       WHERE key_id = o.key_id AND period_start = o.budget_start;
    END IF;
    INSERT INTO holds (request_id, account_id, key_id, budget_start, amount_nanos, details, created_at, deadline_at)
    VALUES (o.request_id, o.account_id, o.key_id, CASE WHEN o.budget_nanos IS NOT NULL THEN o.budget_start END,
            amount, o.details, o.created_at, clock_timestamp() + make_interval(secs => o.deadline_seconds));
    result := 'held'; first_nanos := amount;
    RETURN NEXT;
  END LOOP;
END
$$
"""


def upgrade() -> None:
    with op.batch_alter_table("prices", copy_from=_prices(OLD_CHECK)) as batch:
        for name in PRICES:
            batch.add_column(sa.Column(name, sa.BigInteger()))
    _fill("prices")
    with op.batch_alter_table("prices", copy_from=_prices(OLD_CHECK, *PRICES)) as batch:
        for name in PRICES:
            batch.alter_column(name, existing_type=sa.BigInteger(), nullable=False)
        batch.drop_constraint(op.f("ck_prices_not_negative"), type_="check")
        batch.create_check_constraint(op.f("ck_prices_not_negative"), NEW_CHECK)
    for name in (*COUNTS, *PRICES):
        op.add_column("usage", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    _fill("usage")
    if op.get_bind().dialect.name == "postgresql":
        for name in (*COUNTS, *PRICES):  # SQLite keeps the default, which nobody relies on
            op.alter_column("usage", name, server_default=None)
        op.execute(CREATE)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        before = context.script.get_revision("0004").module.CREATE
        op.execute(before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
    for name in (*PRICES, *COUNTS):
        op.drop_column("usage", name)
    with op.batch_alter_table("prices", copy_from=_prices(NEW_CHECK, *PRICES)) as batch:
        batch.drop_constraint(op.f("ck_prices_not_negative"), type_="check")
        batch.create_check_constraint(op.f("ck_prices_not_negative"), OLD_CHECK)
        for name in PRICES:
            batch.drop_column(name)


def _fill(table: str) -> None:
    """Until now everybody paid the input's price for what was written."""
    for name in PRICES:
        op.execute(f"UPDATE {table} SET {name} = input_nanos_per_mtok")  # noqa: S608 - our own names


def _prices(check: str, *added: str) -> sa.Table:
    """The table as it stands, for SQLite, which changes a table by copying it and can't tell its checks."""
    return sa.Table(
        "prices",
        sa.MetaData(),
        sa.Column("id", BigId, nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("input_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("cached_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("output_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("checked_on", sa.Date()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in added),
        sa.CheckConstraint(check, name=op.f("ck_prices_not_negative")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_prices_model_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
        sa.Index("ix_prices_model_id", "model_id"),
    )
