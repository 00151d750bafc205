"""A gateway with a model of every dialect that upstreams speak, and a client who asks it through any door."""

import dataclasses
import re
from decimal import Decimal
from typing import Any

import requests

from bridge.catalogue.model_editing import set_openai_wire
from bridge.db import db
from bridge.ledger.tables import UsageRecord
from tests.doors import Counts, Door, Told, read_told
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.replay import BASES, PATHS
from tests.upstream import Received, ScriptedUpstream, Step

# who is asked, and by which dialect
UPSTREAMS = ("openai", "responses", "anthropic", "gemini", "deepseek", "moonshot")
UPSTREAM_IDS = {"gemini": "gemini-2.5-flash", "anthropic": "claude-sonnet-4-5"}
ASKED_AT = PATHS | {"responses": r"/v1/responses"}
# nano-dollars per million tokens: hardly a sum comes out even
INPUT, CACHED, WRITTEN, OUTPUT = 333_333_333, 33_333_337, 416_666_671, 1_777_777_777
PROMPT = "Tell me of it. " * 300  # no count of an upstream's is above its bytes
CAP = 4000
CREDIT_NANOS = 1000 * DOLLAR


def price(counts: Counts) -> int:
    """Nano-dollars, rounded up once. The tests' own arithmetic."""
    fresh = counts.prompt - counts.cached - counts.written
    of_prompt = fresh * INPUT + counts.cached * CACHED + counts.written * WRITTEN
    return -(-(of_prompt + counts.completion * OUTPUT) // 1_000_000)


@dataclasses.dataclass
class Got:
    """What a client got, and what is booked of it."""

    status: int
    told: Told
    row: UsageRecord
    asked: int  # how often the upstream was

    @property
    def booked(self) -> Counts:
        row = self.row
        return Counts(
            row.prompt_tokens, row.cached_tokens, row.cache_write_tokens, row.completion_tokens, row.reasoning_tokens
        )

    @property
    def told_nanos(self) -> Decimal:
        return Decimal(self.told.cost) * DOLLAR


class Pairs:
    """One upstream plays them all."""

    def __init__(self, gateway: Gateway):
        self.gateway, self.upstream = gateway, ScriptedUpstream()
        make = gateway.make
        self.key = make.make_key(make.make_account(CREDIT_NANOS))
        self.models = {}
        for name in UPSTREAMS:
            model = self.models[name] = make.make_model(
                input_price=INPUT, output_price=OUTPUT, cached_price_nanos=CACHED, cache_write_price_nanos=WRITTEN
            )
            provider = "openai" if name == "responses" else name
            base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
            served = {model: UPSTREAM_IDS.get(name, "theirs")}
            make.make_channel(base_url, provider=provider, models=served, waits=False)
        with make.app.app_context():
            set_openai_wire(self.models["responses"], "responses")
        make.note_change()

    def ask(
        self, upstream: str, door: Door, steps: list[Step], *, stream: bool, until: bytes = b"", **more: Any
    ) -> Got:
        """Send one request, which this upstream answers in these steps however often it is asked. A pause among them
        lasts `until` the client has these bytes."""
        asked: list[Received] = []

        def play(request: Received) -> list[Step]:
            assert re.fullmatch(ASKED_AT[upstream], request.path), request.path
            asked.append(request)
            return steps

        self.upstream.plays(play)
        body = door.ask(self.models[upstream], PROMPT, stream=stream, cap=CAP) | more
        url = f"{self.gateway.site_url}{door.path}"
        answer = requests.post(url, json=body, headers=self.key.headers, stream=True, timeout=60)
        pieces, data = answer.iter_content(chunk_size=None), b""
        for piece in pieces:
            data += piece
            if until and until in data:
                self.upstream.resume()
        streamed = answer.headers["content-type"].startswith("text/event-stream")
        told = read_told(door, data, stream=streamed)
        return Got(answer.status_code, told, self.find_row(answer.headers["x-request-id"]), len(asked))

    def find_row(self, request_id: str) -> UsageRecord:
        """The one row of this request."""
        with self.gateway.make.app.app_context():
            return db.session.query(UsageRecord).filter_by(request_id=request_id).one()

    def receipt(self, id_: str) -> Any:
        url = f"{self.gateway.base_url}/requests/{id_}"
        return requests.get(url, headers=self.key.headers, timeout=60).json()

    def check_books(self) -> None:
        """What is left is what was given less all charges; nothing is held."""
        rows = self.gateway.make.list_usage(self.key.account_id)
        charged = sum(row.charge_nanos for row in rows)
        assert self.gateway.make.find_money(self.key.account_id) == (CREDIT_NANOS - charged, 0)
        assert self.gateway.make.check_ledger() == []

    def close(self) -> None:
        self.upstream.close()
