"""The audit in short, by a fixed seed, and the proof that it would notice."""

from collections.abc import Callable

import pytest

from tests.audit.chaos import Chaos
from tests.audit.report import write_report
from tests.audit.run import TIMES, Audit, Plan
from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream

SHORT = {**TIMES, "total_timeout_seconds": 4, "hold_grace_seconds": 4, "answer_timeout_seconds": 2}
ANY_ENGINE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


# a client that is ended while it connects leaves its socket to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_request_is_charged_for_what_was_sent_whatever_goes_wrong(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str, redis_url: str
):
    more = {"web_concurrency": 2, "redis_url": redis_url} if engine == "postgresql" else {}
    gateway = start_gateway(engine, **SHORT, **more)
    plan = Plan(seed=1, clients=40, requests=200, strike_after=25, keys_each=5)
    report = Audit(gateway, upstream, plan, Chaos(gateway, plan.seed, None, (0.5, 1.0))).run()
    said = write_report(report, engine)
    assert report.clean, said
    assert report.chaos.kills, said
    assert report.chaos.outages, said
    assert report.requests > plan.requests, said
