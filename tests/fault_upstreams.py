"""Every fault of an upstream before its first content: what the upstream plays, and how the gateway judges it."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.server import StreamServer

from tests.factories import Factories
from tests.gateway import Gateway
from tests.upstream import (
    CUT,
    STALL,
    STREAM_HEAD,
    Received,
    Scenario,
    ScriptedUpstream,
    Step,
    chunk,
    fails,
    framed,
    free_port,
    hangs_up,
    says,
    sends,
    stalls,
    starts,
    whole,
)

MODES = ("whole", "stream")
# what an upstream says about its operator, and no client is to read
SECRETS = (
    "sk-operator",
    "$3.17",
    "org-operator",
    "proj_operator",
    "acct_operator",
    "operator@",
    "169.254",
    "html",
    "far.test",
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """`plays` at a channel, or a channel `at` an address where nobody speaks; then `reason` and `blame` are what the
    log says of the attempt, and the receipt of the reason. `leaves` is what else it says where one failure is enough
    to leave the channel, `again` whether the only channel is asked three times."""

    reason: str  # or, divided by |, that of a whole answer and that of a stream
    blame: str = "upstream"
    leaves: str = ""
    plays: Scenario | None = None
    at: str = ""
    again: bool = False


def of_both(in_whole: Scenario, in_stream: Scenario) -> Scenario:
    return lambda request: (in_stream if request.streams else in_whole)(request)


def oversized(request: Received) -> list[Step]:
    """More than the limit, in one event of a stream or in a whole answer."""
    much = b"x" * 200_000
    if request.streams:
        return [STREAM_HEAD, b"%x\r\n" % (len(much) + 6), b"data: ", much, STALL]
    return [whole(b'{"choices": "' + much + b'"}')]


SILENT = of_both(lambda _request: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", STALL], starts(then=STALL))
ERROR = {"error": {"message": "Far away at far.test", "type": "server_error"}}
ERROR_IN_200 = of_both(
    sends(b'{"error": {"message": "Far away at far.test", "type": "server_error"}}'),
    lambda _request: [STREAM_HEAD, framed(ERROR), framed("[DONE]"), b"0\r\n\r\n"],
)
CUT_SHORT = of_both(
    lambda _request: [b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"choices": [', CUT], starts(then=CUT)
)
RUBBISH = of_both(sends(b"\x00\xffnot json"), lambda _request: [STREAM_HEAD, b"c\r\ndata: rub}\n\n\r\n", b"0\r\n\r\n"])
WRONG = of_both(
    sends(b'{"choices": "none"}'),
    lambda _request: [STREAM_HEAD, framed({"choices": "none"}), framed("[DONE]"), b"0\r\n\r\n"],
)
CHUNKED = "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08no"


def drips(head: bytes, piece: bytes | dict[str, Any]) -> Scenario:
    """An answer that never ends and is never silent. The piece may be a chunk of a stream."""

    def steps(piece: bytes) -> Iterator[Step]:
        yield head
        while True:
            yield piece
            gevent.sleep(0.05)

    return lambda request: steps(piece if isinstance(piece, bytes) else framed(request.fit(piece)))


FAULTS = {
    "refused": Fault("the connection was refused", at="http://127.0.0.1:{free}/v1", again=True),
    "DNS": Fault("the upstream's name was not found", at="http://nowhere.invalid/v1", again=True),
    "TLS certificate": Fault("the TLS certificate is not trusted", at="https://127.0.0.1:{tls}/v1", again=True),
    "TLS handshake": Fault("the TLS handshake failed", at="https://127.0.0.1:{plain}/v1", again=True),
    "hangs up": Fault("the connection broke", plays=hangs_up()),
    "400 about our key": Fault(
        "400", "credential", "out", fails(400, "API key not valid. Please pass sk-operator", "INVALID_ARGUMENT")
    ),
    "400 about our balance": Fault(
        "400", "credential", "out", fails(400, "Your credit balance is too low for org-operator")
    ),
    "400 about our model": Fault("400", "setup", "misconfigured", fails(400, "Model not exist")),
    "401": Fault("401", "credential", "out", fails(401, "Incorrect API key provided: sk-operator", "invalid_api_key")),
    "402": Fault("402", "credential", "out", fails(402, "Your balance of $3.17 is too low")),
    "403": Fault("403", "credential", "out", fails(403, "acct_operator may not use this. Ask operator@far.test")),
    "404": Fault("404", "setup", "misconfigured", fails(404, "proj_operator has no such model", "model_not_found")),
    "redirect": Fault("302", "setup", "misconfigured", fails(302, headers="Location: http://169.254.169.254/\r\n")),
    "429": Fault("429", "rate", "cooling", fails(429, "org-operator is too fast", headers="Retry-After: 7\r\n")),
    **{
        str(status): Fault(str(status), plays=fails(status, "at far.test"), again=True)
        for status in (500, 502, 503, 504, 529)
    },
    "unreadable JSON": Fault("the answer is not JSON|the stream holds what is no", plays=RUBBISH),
    "HTML": Fault(
        "the answer is not JSON|the stream ended without an end",
        plays=sends(b"<html>far.test</html>", content_type="text/html"),
    ),
    "wrong shape": Fault("the answer has no choices|the stream holds what is no chunk", plays=WRONG),
    "error inside a 200": Fault("an error inside a 200", plays=ERROR_IN_200),
    "no answer in time": Fault("no answer within", plays=stalls()),
    "no content in time": Fault("silent for|no content in time", plays=SILENT),
    "oversized": Fault("larger than", plays=oversized),
    "cut": Fault("cut", plays=CUT_SHORT),
    "cut in its headers": Fault("the connection broke", plays=lambda _request: [b"HTTP/1.1 200 OK\r\nConte", CUT]),
    "no HTTP": Fault("the answer is not HTTP", plays=lambda _request: [b"SSH-2.0-far\r\n", CUT]),
    "slow headers": Fault("no answer within", plays=drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")),
    "drips": Fault(
        "no whole answer within|no content in time",
        plays=of_both(
            drips(CHUNKED.format(status=200).encode(), b"1\r\n \r\n"),
            drips(STREAM_HEAD, chunk(delta={"role": "assistant", "content": ""})),
        ),
    ),
    "an error that drips": Fault("500", plays=drips(CHUNKED.format(status=500).encode(), b"1\r\n \r\n"), again=True),
    "rubbish for gzip": Fault(
        "the answer can't be unpacked",
        plays=of_both(
            lambda _request: [GZIPPED % b"application/json"], lambda _request: [GZIPPED % b"text/event-stream"]
        ),
    ),
    "another type": Fault(
        "the answer is not JSON|the stream ended without an end",
        plays=sends(b"far.test is overloaded", content_type="text/plain"),
    ),
    "empty": Fault("the answer is not JSON|the stream ended without an end", plays=sends(b"")),
    "an end alone": Fault(
        "the answer is not JSON|the stream ended without a finish reason",
        plays=of_both(sends(b"\n"), lambda _request: [STREAM_HEAD, framed("[DONE]"), b"0\r\n\r\n"]),
    ),
}


def name_model(fault: str, mode: str, door: str, kind: str) -> str:
    return f"{fault}-{mode}-{door}-{kind}".replace(" ", "_")


class Nobody:
    """Addresses where no server answers, or none that can be trusted."""

    def __init__(self, certificate: Path):
        self.secure = ScriptedUpstream(certificate)
        self.plain = StreamServer(("127.0.0.1", 0), lambda sock, _address: sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"))
        self.plain.start()

    def address_of(self, fault: Fault, upstream: ScriptedUpstream) -> str:
        """Where a channel with this fault goes: to the upstream that plays it, or here."""
        secure = self.secure.base_url.rpartition(":")[2].removesuffix("/v1")
        ports = {"free": free_port(), "tls": secure, "plain": self.plain.server_port}
        return fault.at.format(**ports) if fault.at else upstream.base_url

    def close(self) -> None:
        self.secure.close()
        self.plain.stop(timeout=1)


class Table:
    """A gateway with a model for each fault, mode and door: one whose second channel is good, and one without a second.
    What a channel's upstream calls the model is the fault, so that one upstream plays them all. Each door's requests
    are an account's own, and go by channels of their own: what one meets, no other knows."""

    def __init__(self, gateway: Gateway, certificate: Path, doors: Iterable[str]):
        self.gateway = gateway
        self.bad, self.good, self.nobody = ScriptedUpstream(), ScriptedUpstream(), Nobody(certificate)
        self.bad.plays(self._play)
        self.good.plays(says("Hello", " there", prompt_tokens=10, completion_tokens=5))
        self.channels: dict[tuple[str, str, str], str] = {}
        make = Factories(gateway.make.app)  # which waits for nothing: the gateway is to see all of it at once
        good: list[str] = []
        self.keys = {door: gateway.make.make_key() for door in doors}
        for name, mode, door in itertools.product(FAULTS, MODES, self.keys):
            alone, both = [
                make.make_model(id_=name_model(name, mode, door, kind), kinds=["chat", "completions"])
                for kind in ("alone", "both")
            ]
            good.append(both)
            self.channels[name, mode, door] = make.make_channel(
                self.nobody.address_of(FAULTS[name], self.bad), priority=0, models={alone: name, both: name}
            )
        make.make_channel(self.good.base_url, *good, priority=1)
        gateway.make.wait_for_gateway()

    def close(self) -> None:
        for upstream in (self.bad, self.good, self.nobody):
            upstream.close()

    def _play(self, request: Received) -> list[Step]:
        scenario = FAULTS[request.json["model"]].plays
        assert scenario is not None
        return scenario(request)
