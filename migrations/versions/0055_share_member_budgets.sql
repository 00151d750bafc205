-- The function that commits a batch of settlements and holds on PostgreSQL, in one call and one transaction.
--
-- `settlements` and `orders` are JSON arrays of `Settlement` and `HoldOrder` (batch.py). It answers one row for each
-- settlement that ended a hold: "settled", its charge and its loss. Of holds it answers nothing where one statement
-- placed all of them in full. Otherwise it answers a row for each: "held" and the amount, or "balance" or "budget" for
-- what did not have enough, how much that had, and which of the budgets it was. sqlite.py does the same, statement by
-- statement. A window that keys share (its scope is "account", or "member:" and an id) has its row under the account's
-- id below zero.
--
-- This file is the source, and the database has a copy of it: a migration freezes one, whole. The lists between
-- "list" and "end of list" are made by `python -m bridge.ledger.columns`.
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
  -- Accounts are locked in order of id, so that batches of several workers never wait for each other in a circle.
  PERFORM 1 FROM balances
   WHERE account_id IN (
     SELECT h.account_id FROM holds h
      WHERE h.request_id IN (SELECT s ->> 'request_id' FROM jsonb_array_elements(settlements) s)
     UNION SELECT (j ->> 'account_id')::bigint FROM jsonb_array_elements(orders) j)
   ORDER BY account_id FOR UPDATE;

  -- Settlements come first: what they free can be held at once.
  IF jsonb_array_length(settlements) > 0 THEN
    RETURN QUERY
    WITH s AS (
      SELECT * FROM jsonb_to_recordset(settlements) AS s (
        -- list: settlement
        request_id text, created_at timestamptz, state text, outcome text, status bigint, error_code text,
        endpoint text, model_asked text, model_id text, upstream_id text, channel_name text, stream boolean,
        finish_reason text, prompt_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
        cache_write_hour_tokens bigint, completion_tokens bigint, reasoning_tokens bigint, tokens_source text,
        provider_counts text, uncharged_tokens bigint, uncharged_nanos bigint, price_id bigint,
        input_nanos_per_mtok bigint, cached_nanos_per_mtok bigint, cache_write_nanos_per_mtok bigint,
        cache_write_hour_nanos_per_mtok bigint, output_nanos_per_mtok bigint, price_nanos bigint, cost_nanos bigint,
        pricing text, output_cap_tokens bigint, attempts text, adapted text, first_content_ms bigint, total_ms bigint,
        end_user text, tags text, stop_at_nanos bigint
        -- end of list
      )
    ), gone AS (
      -- whoever deletes the hold settles it: of a settlement whose hold is gone, nothing goes on from here
      DELETE FROM holds h USING s WHERE h.request_id = s.request_id
      RETURNING h.request_id, h.account_id, h.key_id, h.amount_nanos, h.budgets
    ), wanted AS (
      -- beyond its hold a request takes what the balance has free; in order of id, where an account has several
      SELECT s.*, g.account_id, g.key_id, g.amount_nanos, g.budgets,
             greatest(0, s.price_nanos - g.amount_nanos) AS excess_nanos,
             sum(greatest(0, s.price_nanos - g.amount_nanos)) OVER (
               PARTITION BY g.account_id ORDER BY s.request_id) AS excess_so_far_nanos
        FROM s JOIN gone g ON g.request_id = s.request_id
    ), charged AS (
      SELECT w.*, coalesce(b.balance_nanos, 0) AS before_nanos,
             least(w.price_nanos, w.amount_nanos) + CASE WHEN w.excess_nanos = 0 THEN 0 ELSE greatest(0, least(
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
        FROM (SELECT CASE WHEN w.scope LIKE ANY ('{account,member:%}') THEN -d.account_id ELSE d.key_id END AS key_id,
                     w.period, w.start, w.scope,
                     sum(d.amount_nanos)::bigint AS hold_nanos, sum(d.charge_nanos)::bigint AS charge_nanos
                FROM charged d, jsonb_to_recordset(d.budgets::jsonb) AS w (period text, start date, scope text)
               WHERE d.budgets IS NOT NULL GROUP BY 1, w.period, w.start, w.scope) c
       WHERE b.key_id = c.key_id AND b.period = c.period AND b.period_start = c.start AND b.scope = c.scope
    ), logged AS (
      INSERT INTO usage (
        -- list: columns
        account_id, key_id, hold_nanos, charge_nanos, loss_nanos, settled_at, balance_after_nanos, request_id,
        created_at, state, outcome, status, error_code, endpoint, model_asked, model_id, upstream_id, channel_name,
        stream, finish_reason, prompt_tokens, cached_tokens, cache_write_tokens, cache_write_hour_tokens,
        completion_tokens, reasoning_tokens, tokens_source, provider_counts, uncharged_tokens, uncharged_nanos,
        price_id, input_nanos_per_mtok, cached_nanos_per_mtok, cache_write_nanos_per_mtok,
        cache_write_hour_nanos_per_mtok, output_nanos_per_mtok, cost_nanos, pricing, output_cap_tokens, attempts,
        adapted, first_content_ms, total_ms, end_user, tags, stop_at_nanos
        -- end of list
      )
      SELECT
        account_id, key_id, amount_nanos, charge_nanos, price_nanos - charge_nanos, clock_timestamp(),
        before_nanos - (sum(charge_nanos) OVER (
          PARTITION BY account_id ORDER BY request_id ROWS UNBOUNDED PRECEDING))::bigint,
        -- list: values
        request_id, created_at, state, outcome, status, error_code, endpoint, model_asked, model_id, upstream_id,
        channel_name, stream, finish_reason, prompt_tokens, cached_tokens, coalesce(cache_write_tokens, 0),
        coalesce(cache_write_hour_tokens, 0), completion_tokens, reasoning_tokens, tokens_source, provider_counts,
        coalesce(uncharged_tokens, 0), coalesce(uncharged_nanos, 0), price_id, input_nanos_per_mtok,
        cached_nanos_per_mtok, coalesce(cache_write_nanos_per_mtok, input_nanos_per_mtok),
        coalesce(cache_write_hour_nanos_per_mtok, input_nanos_per_mtok), output_nanos_per_mtok,
        coalesce(cost_nanos, price_nanos), pricing, output_cap_tokens, attempts, adapted, first_content_ms, total_ms,
        end_user, tags, stop_at_nanos
        -- end of list
      FROM charged
    )
    SELECT c.request_id, 'settled', c.charge_nanos, c.price_nanos - c.charge_nanos FROM charged c;
  END IF;

  IF jsonb_array_length(orders) = 0 THEN
    RETURN;
  END IF;

  -- Where each account can afford all its holds of the batch, and none has a budget, they go in as one statement. A
  -- hold that may be less than it asks for is full where a quarter of what is left has room for it.
  IF NOT EXISTS (
    SELECT 1 FROM jsonb_to_recordset(orders) AS j (
        account_id bigint, amount_nanos bigint, least_nanos bigint, budgets jsonb)
      LEFT JOIN balances b ON b.account_id = j.account_id
     GROUP BY j.account_id, b.balance_nanos, b.held_nanos
    HAVING bool_or(j.budgets IS NOT NULL) OR b.balance_nanos IS NULL
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

  -- Otherwise each is admitted by its own conditional statement, one after the other.
  FOR o IN
    SELECT * FROM jsonb_to_recordset(orders) AS j (
      -- list: hold
      request_id text, account_id bigint, key_id bigint, amount_nanos bigint, least_nanos bigint,
      created_at timestamptz, deadline_seconds double precision, budgets jsonb, details text
      -- end of list
    )
  LOOP
    second_nanos := 0;
    request_id := o.request_id;
    free := 0;
    SELECT balance_nanos - held_nanos INTO free FROM balances WHERE account_id = o.account_id;
    free := coalesce(free, 0);
    allowance := free;
    IF o.budgets IS NOT NULL THEN  -- the one with the least left decides
      INSERT INTO budgets (key_id, period, period_start, scope, held_nanos, spent_nanos, told_percent)
      SELECT CASE WHEN w.scope LIKE ANY ('{account,member:%}') THEN -o.account_id ELSE o.key_id END,
             w.period, w.start, w.scope, 0, 0, 0
        FROM jsonb_to_recordset(o.budgets) AS w (period text, start date, scope text)
          ON CONFLICT DO NOTHING;
      SELECT greatest(0, w.limit_nanos - b.held_nanos - b.spent_nanos), w.place - 1 INTO allowance, second_nanos
        FROM ROWS FROM (jsonb_to_recordset(o.budgets) AS (period text, start date, scope text, limit_nanos bigint))
             WITH ORDINALITY AS w (period, start, scope, limit_nanos, place)
        JOIN budgets b
          ON b.key_id = CASE WHEN w.scope LIKE ANY ('{account,member:%}') THEN -o.account_id ELSE o.key_id END
         AND b.period = w.period AND b.period_start = w.start AND b.scope = w.scope
       ORDER BY 1, 2 LIMIT 1;
    END IF;
    amount := least(o.amount_nanos, greatest(o.least_nanos, div(least(free, allowance), 4)::bigint));
    IF amount > 0 AND amount > allowance AND o.budgets IS NOT NULL THEN
      UPDATE budgets b SET refused_at = clock_timestamp()
        FROM ROWS FROM (jsonb_to_recordset(o.budgets) AS (period text, start date, scope text, limit_nanos bigint))
             WITH ORDINALITY AS w (period, start, scope, limit_nanos, place)
       WHERE w.place = second_nanos + 1
         AND b.key_id = CASE WHEN w.scope LIKE ANY ('{account,member:%}') THEN -o.account_id ELSE o.key_id END
         AND b.period = w.period AND b.period_start = w.start AND b.scope = w.scope AND b.refused_at IS NULL
         AND o.least_nanos > w.limit_nanos - b.spent_nanos
         AND w.limit_nanos - b.spent_nanos <= w.limit_nanos / 5;
      result := 'budget'; first_nanos := allowance;
      RETURN NEXT;
      CONTINUE;
    END IF;
    second_nanos := 0;
    UPDATE balances SET held_nanos = held_nanos + amount
     WHERE account_id = o.account_id AND balance_nanos - held_nanos >= amount;
    IF amount > 0 AND NOT FOUND THEN  -- what is free needs no balance, not even a row of one
      result := 'balance'; first_nanos := free;
      RETURN NEXT;
      CONTINUE;
    END IF;
    IF o.budgets IS NOT NULL THEN
      UPDATE budgets b SET held_nanos = b.held_nanos + amount
        FROM jsonb_to_recordset(o.budgets) AS w (period text, start date, scope text)
       WHERE b.key_id = CASE WHEN w.scope LIKE ANY ('{account,member:%}') THEN -o.account_id ELSE o.key_id END
         AND b.period = w.period AND b.period_start = w.start AND b.scope = w.scope;
    END IF;
    INSERT INTO holds (request_id, account_id, key_id, budgets, amount_nanos, details, created_at, deadline_at)
    VALUES (o.request_id, o.account_id, o.key_id, o.budgets::text, amount, o.details, o.created_at,
            clock_timestamp() + make_interval(secs => o.deadline_seconds));
    result := 'held'; first_nanos := amount;
    RETURN NEXT;
  END LOOP;
END
$$
