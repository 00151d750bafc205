"""The playground in a real browser, against a running gateway and an upstream that plays."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.browser.playground import CHEAP, DEAR, EVIL, SCHEMA
from tests.browser.test_pages import pytestmark  # noqa: F401 - a browser is needed here too
from tests.browser.test_people import run_browser
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.installed import find_node, install_node
from tests.upstream import STALL, STREAM_HEAD, Received, ScriptedUpstream, Step, chunk, framed, says
from tests.warm import ROOT

RUN_SECONDS = 120


def play(request: Received) -> Iterator[Step]:
    """A tool call where there are tools and no result yet; a stream that doesn't end where one is asked for."""
    last = request.json["messages"][-1]
    if last["content"] == "Go on for long":
        yield from (STREAM_HEAD, framed(chunk(delta={"role": "assistant", "content": "one "})))
        yield from (framed(chunk(delta={"content": "two"})), STALL)
    elif last["content"] == "Which invoice?":
        function = {"name": "find_invoice", "arguments": '{"number":'}
        calls: list[dict[str, Any]] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
        yield from (STREAM_HEAD, framed(chunk(delta={"role": "assistant", "tool_calls": calls})))
        rest = [{"index": 0, "function": {"arguments": ' "2291"}'}}]
        yield from (framed(chunk(delta={"tool_calls": rest})), framed(chunk(finish_reason="tool_calls")))
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        yield from (framed(chunk(choices=[], usage=usage)), framed("[DONE]"), b"0\r\n\r\n")
    elif last["role"] == "tool":
        yield from says("You asked for ", last["content"])(request)
    elif isinstance(last["content"], list):
        yield from says("I see it: ", EVIL)(request)
    else:
        yield from says("Hello ", "to ", "you")(request)


def test_a_customer_talks_with_tools_and_images_stops_compares_and_takes_the_code(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream
):
    site = start_gateway()
    upstream.plays(play)
    for model, price in ((DEAR, 100 * DOLLAR), (CHEAP, 10 * DOLLAR)):
        site.make.make_model(id_=model, input_price=price, output_price=price, input_modalities=["text", "image"])
    site.make.make_channel(upstream.base_url, DEAR, CHEAP)
    account = site.make.make_account()
    found = run_browser("talk", site.site_url, site._log_path, account.email, account.password)

    assert found["wrong_tools"] == "Line 1, column 10: this is not valid JSON. Nothing is sent until it is."
    assert found["quote"].startswith("Costs at most $0.")
    assert found["call"] == 'find_invoice({"number": "2291"})'
    assert "You asked for Number 2291" in found["answer"]
    first, second, image, structured, stopped, *both, edited, other, retried = upstream.requests
    assert (first.json["temperature"], first.json["max_tokens"]) == (0.2, 100)
    assert [message["role"] for message in second.json["messages"]] == ["user", "assistant", "tool"]
    assert [part["type"] for part in image.json["messages"][-1]["content"]] == ["image_url", "image_url", "text"]
    assert EVIL in found["image"]  # as text
    assert found["shown"] == [2, 0, "Playground · AI Bridge"]

    assert found["wrong_schema"] == "Line 1, column 9: this is not valid JSON. Nothing is sent until it is."
    wanted = {"name": "answer", "schema": json.loads(SCHEMA)}
    assert structured.json["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert "response_format" not in stopped.json

    assert "about" in found["running"]
    assert "Stopped by you" in found["stopped"]
    assert stopped.hung_up.wait(10)
    assert "client left" in found["receipt"]
    records = {record.request_id: record for record in site.make.list_usage(account.id)}
    [left] = [record for record in records.values() if record.outcome == "client_gone"]
    assert f"${left.charge_nanos / DOLLAR:.6f}" in found["stopped"]

    assert found["columns"] == 2
    assert found["difference"].startswith(f"{CHEAP} cost 10.0% as much and")
    assert "difference $0.000900" in found["difference"]  # ten tokens each
    assert {request.json["model"] for request in both} == {DEAR, CHEAP}
    for request in (edited, other, retried):
        assert request.json["messages"] == [{"role": "user", "content": "Hello again"}]
    assert retried.json["model"] == CHEAP
    assert CHEAP in found["left"]
    assert DEAR not in found["left"]
    assert "Playground" in found["keys"]

    python, node, curl = found["code"]
    folder = install_node(ROOT / "scripts" / "node")
    key = site.make.make_key(account)
    sent = next(request.json for request in both if request.json["model"] == DEAR)
    for command, code in (
        ([sys.executable, "-"], python),
        ([str(find_node(folder)), "--input-type=module", "-"], node),
        (["bash"], curl),
    ):
        answered = run_code(command, code, key.secret, folder)
        assert ("Hello to you" in answered) or ('"content":"Hello "' in answered.replace(": ", ":")), answered
        assert upstream.requests[-1].json == sent


def run_code(command: list[str], code: str, secret: str, folder: Path) -> str:
    """What the page's code prints, run as it was copied with a key in the environment."""
    environ = {**os.environ, "OPENAI_API_KEY": secret, "NO_PROXY": "*"}
    done = subprocess.run(
        command, input=code, cwd=folder, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, json.dumps([done.stdout, done.stderr])
    return done.stdout
