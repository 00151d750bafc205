"""Attacks by one customer's requests: by their content, how they arrive, and what they leave behind."""

import gevent

from tests.attack.arena import BODY_SECONDS, CALM, NARROW, SPACIOUS, Arena
from tests.attack.attacks import Found, attack, expect
from tests.attack.upstream import DIALECTS
from tests.attack.wire import Answer, chat, say_status

HEAVY = ("keys", "integers", "strings", "objects", "brackets", "nested", "bomb")
LARGE = ("text", "blanks", "escapes", "keys_within", "names", "large_picture")
MANY = ("messages", "parts", "tools", "tool_schemas", "answer_schema", "pictures", "calls", "biases")
LEASE_SECONDS = 30
OFTEN = 1000


@attack("heavy bodies", "21 MiB of keys, 15 million integers, brackets, bombs", quick=True)
def send_heavy(arena: Arena) -> Found:
    key = arena.new_key().secret
    answers = arena.send("send_bodies", key=key, models=[SPACIOUS], kinds=HEAVY, count=arena.few(4, 2))
    return answers, expect(answers, "400", "413", "503", "closed")


@attack("large bodies", "20 MiB of text, blanks, escapes, one picture, names")
def send_large(arena: Arena) -> Found:
    key, count = arena.new_key().secret, arena.few(3, 1)
    answers = arena.send("send_bodies", key=key, models=[SPACIOUS], kinds=LARGE, count=count)
    return answers, expect(answers, "200", "400", "413", "503", "closed")


@attack("many parts", "60,000 messages or parts, 8,000 tools, large schemas, pictures", quick=True)
def send_many(arena: Arena) -> Found:
    key = arena.new_key().secret
    answers = arena.send("send_bodies", key=key, models=[SPACIOUS], kinds=MANY, count=arena.few(3, 1))
    return answers, expect(answers, "200", "400", "413", "503", "closed")


@attack("the same for other dialects", "the large and the many, to Anthropic and Google")
def send_to_dialects(arena: Arena) -> Found:
    key, models = arena.new_key().secret, [f"{dialect}-{SPACIOUS}" for dialect in DIALECTS]
    answers = arena.send("send_bodies", key=key, models=models, kinds=[*MANY, "text", "escapes"], count=1)
    return answers, expect(answers, "200", "400", "413", "503", "closed")


@attack("bodies in drips", "bodies whose every byte is a chunk", quick=True)
def send_drips(arena: Arena) -> Found:
    key, count = arena.new_key().secret, arena.few(4, 2)
    answers = arena.send("send_chunks", key=key, model=SPACIOUS, count=count, size=arena.few(1_000_000, 200_000))
    return answers, expect(answers, "200", "400", "413", "503", "closed")


@attack("large heads", "many and long headers, paths, queries, cookies")
def send_heads(arena: Arena) -> Found:
    answers = arena.send("send_heads", key=arena.new_key().secret, count=arena.few(30, 5))
    return answers, expect(answers, "200", "302", "400", "401", "404", "414", "431", "closed")


def half_body(key: str) -> str:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Length: 1000\r\n\r\n{{"


@attack("half-sent bodies", "3,300 bodies of one key of which a byte comes", quick=True)
def hold_bodies(arena: Arena) -> Found:
    sent, count = [half_body(arena.new_key().secret)], arena.few(3300, 1200)
    return arena.send("hold_half_sent", sent=sent, count=count, seconds=1.5), []


@attack("half-sent bodies, concurrency 2", "the same of a key that may have two requests")
def hold_limited_bodies(arena: Arena) -> Found:
    sent = [half_body(arena.new_key(concurrency=2).secret)]
    return arena.send("hold_half_sent", sent=sent, count=3300, seconds=1.5), []


@attack("half-sent heads", "2,000 connections of which half a head comes")
def hold_heads(arena: Arena) -> Found:
    sent = ["POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthor", "GET /sign-in HTTP/1.1\r\nHost: x\r\n"]
    return arena.send("hold_half_sent", sent=sent, count=arena.few(2000, 600), seconds=1.0), []


@attack("half-sent forms", "forms and webhooks that never arrive", quick=True)
def hold_forms(arena: Arena) -> Found:
    kinds = ("Content-Length: 100\r\n\r\nemail=", "Transfer-Encoding: chunked\r\n\r\n5\r\n")
    form = "Content-Type: application/x-www-form-urlencoded"
    paths = ("/sign-in", "/sign-up", "/webhooks/stripe", "/theme")
    sent = [f"POST {path} HTTP/1.1\r\nHost: x\r\n{form}\r\n{kind}" for path in paths for kind in kinds]
    seconds = BODY_SECONDS + 4
    answers = arena.send("await_half_sent", sent=sent, count=arena.few(40, 10), seconds=seconds)
    return answers, expect(answers, "408", "400", "closed")


def hurt_channel(arena: Arena, words: str, count: int) -> Found:
    """One customer makes a channel fail; another one is still served by it, and not by the next."""
    model, other = f"shared-{words}", arena.new_key().secret
    answers = arena.send("provoke", key=arena.new_key().secret, model=model, content=words, count=count)
    served = [chat(arena.port, other, model) for _ in range(5)]
    moved = sum("The second." in answer.text for answer in served)
    wrong = [f"another customer got {answer.status}" for answer in served if answer.status != 200]
    return answers, [*wrong, *([f"{moved} of 5 requests of another customer were moved"] if moved else [])]


@attack("a provoked 402", "one customer's words for which a channel says 402", quick=True)
def provoke_402(arena: Arena) -> Found:
    return hurt_channel(arena, "PROVOKE-402", 4)


@attack("a provoked 401", "the same with 401")
def provoke_401(arena: Arena) -> Found:
    return hurt_channel(arena, "PROVOKE-401", 4)


@attack("a provoked 404", "the same with 404")
def provoke_404(arena: Arena) -> Found:
    return hurt_channel(arena, "PROVOKE-404", 4)


@attack("provoked 500s", "eight 500s of a channel that one customer provokes", quick=True)
def provoke_500(arena: Arena) -> Found:
    return hurt_channel(arena, "PROVOKE-500", 8)


@attack("provoked hang-ups", "eight connections that a channel closes on one customer")
def provoke_cut(arena: Arena) -> Found:
    return hurt_channel(arena, "PROVOKE-CUT", 8)


@attack("abandoned streams", "60 streams at once with 60 KB prompts that leave unanswered", quick=True)
def leave_streams(arena: Arena) -> Found:
    key, count = arena.new_key(), arena.few(60, 20)
    prompt = {"model": CALM, "words": "PROVOKE-SILENCE", "kibibytes": 60}
    answers = arena.send("leave_early", key=key.secret, count=count, seconds=3.0, **prompt)
    with gevent.Timeout(15, False):
        while len(arena.make.list_usage(key.account_id)) < count:
            gevent.sleep(0.2)
    rows = arena.make.list_usage(key.account_id)
    free = sum(row.charge_nanos == 0 for row in rows)
    wrong = [f"{free} were free"] if free > 3 else []
    return answers | {"free": free}, wrong + ([] if len(rows) == count else [f"{len(rows)} of {count} are settled"])


@attack("a killed worker", "requests that hold the last places of a key and of a channel", disturbs=True)
def kill_workers(arena: Arena) -> Found:
    """The limits that a dead worker held are free again soon."""
    limited, other = arena.new_key(concurrency=1), arena.new_key()
    held = [limited, arena.new_key()]
    running = [
        gevent.spawn(say_status, lambda key=key, model=model: chat(arena.port, key.secret, model, "PROVOKE-SILENCE"))
        for key, model in zip(held, (CALM, NARROW), strict=True)
    ]
    with gevent.Timeout(20):
        while not all(arena.make.count_holds(key.account_id) for key in held):
            gevent.sleep(0.1)
    for _ in arena.gateway.workers():
        arena.gateway.kill_worker()
        gevent.sleep(0.2)
    gevent.joinall(running, timeout=20)
    waited, first = 0.0, ""
    with gevent.Timeout(LEASE_SECONDS + 15, False):
        while True:
            answers = [say_answer(lambda: chat(arena.port, limited.secret, CALM))]
            answers.append(say_answer(lambda: chat(arena.port, other.secret, NARROW)))
            if answers == ["200", "200"]:
                break
            first = first or ", ".join(answers)
            gevent.sleep(1)
            waited += 1
    late = [] if waited <= LEASE_SECONDS else [f"places were held for more than {waited:.0f} s ({first})"]
    return {"seconds until served": round(waited)}, late


def say_answer(call: object) -> str:
    """The status, with Retry-After where there is one."""
    found: list[Answer] = []

    def keep() -> Answer:
        found.append(call())  # type: ignore[operator]
        return found[0]

    status = say_status(keep)
    after = found[0].headers.get("retry-after") if found else None
    return f"{status} Retry-After {after}" if after else status
