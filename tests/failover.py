"""Drives requests over three channels of which some fail, and counts what that came to."""

import dataclasses
from typing import Any

import requests

from tests.gateway import Gateway
from tests.upstream import Scenario, ScriptedUpstream, fails, hangs_up, says, sends, stalls

DOLLAR = 1_000_000_000
WARM_UP = 20  # requests, in which the gateway learns who fails
PRICE_NANOS = 20_000  # of one answer, by the factories' prices
FAULTS: dict[str, Scenario] = {
    "500": fails(500),
    "503": fails(503),
    "429": fails(429, headers="Retry-After: 2\r\n"),
    "401": fails(401, "Incorrect API key provided.", "invalid_api_key"),
    "404": fails(404, "The model does not exist", "model_not_found"),
    "hangs up": hangs_up(),
    "rubbish": sends(b"\x00\xffnot json"),
    "an error inside a 200": sends(b'{"error": {"message": "no", "type": "server_error"}}'),
    "never answers": stalls(),
    "refused": hangs_up(),  # nobody listens any more
}


@dataclasses.dataclass
class Course:
    """What became of the requests after the warm-up."""

    answered: int = 0
    attempts: int = 0
    most_attempts: int = 0
    complaints: list[str] = dataclasses.field(default_factory=list)


def drive(gateway: Gateway, fault: str, *, requests_count: int, warm_up: int, broken: int = 1) -> Course:
    """So many requests, every second one a stream, each a conversation of its own."""
    upstreams = [ScriptedUpstream() for _ in range(3)]
    model, key, course = gateway.make.make_model(), gateway.make.make_key(), Course()
    for number, upstream in enumerate(upstreams):
        upstream.plays(
            FAULTS[fault] if number < broken else says("Hello", " there", prompt_tokens=10, completion_tokens=5)
        )
        gateway.make.make_channel(upstream.base_url, model)
        if fault == "refused" and number < broken:
            upstream.close()
    answered = 0
    with requests.Session() as session:
        session.trust_env = False
        for number in range(warm_up + requests_count):
            body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": f"{number}"}]}
            body["stream"] = number % 2 == 1
            url = f"{gateway.base_url}/chat/completions"
            answer = session.post(url, json=body, headers=key.headers, timeout=60)
            good = answer.status_code == 200 and "there" in answer.text and '"error"' not in answer.text
            answered += good
            if number < warm_up:
                continue
            course.answered += good
            attempts = _count_attempts(gateway, session, key.headers, answer)
            course.attempts += attempts
            course.most_attempts = max(course.most_attempts, attempts)
            if answer.status_code not in (200, 503):
                course.complaints.append(f"{answer.status_code}: {answer.text[:200]}")
    balance, held = gateway.make.find_money(key.account_id)
    if (10 * DOLLAR - balance, held) != (answered * PRICE_NANOS, 0):
        course.complaints.append(f"{answered} answers: {10 * DOLLAR - balance} charged, {held} held")
    for upstream in upstreams:
        upstream.close()
    return course


def _count_attempts(gateway: Gateway, session: requests.Session, headers: dict[str, str], answer: Any) -> int:
    if "x-bridge-attempts" in answer.headers:
        return int(answer.headers["x-bridge-attempts"])
    receipt = session.get(f"{gateway.base_url}/requests/{answer.headers['x-request-id']}", headers=headers, timeout=60)
    return len(receipt.json()["attempts"])
