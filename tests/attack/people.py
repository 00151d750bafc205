"""Attacks on people, keys and addresses: by guesses, by other spellings, by headers of a proxy or a browser."""

import re
import time

import gevent
import sqlalchemy as sa

from bridge.accounts.tables import Account, Member
from bridge.db import db, transaction
from tests.attack.arena import CALM, DEFAULT_RPM, Arena
from tests.attack.attacks import Found, attack
from tests.attack.wire import Browser, Tally, ask, bearer, chat
from tests.factories import PASSWORD

WRONG = "a wrong password"
LIMIT = 10  # guesses at one password from one place
SIGN_IN_SECONDS = 5.0
EVIL = "evil.example"


def looked_at(answers: Tally, most: int) -> list[str]:
    """More guesses than are allowed, or whatever is neither looked at nor refused."""
    odd = [f"{count} × {status}" for status, count in answers.items() if status not in ("401", "429")]
    guesses = answers.get("401", 0)
    return odd + ([f"{guesses} guesses were looked at instead of {most}"] if guesses > most else [])


@attack("a flood of sign-ins", "60 passwords from one address, eight at once; another person signs in", quick=True)
def flood(arena: Arena) -> Found:
    tries = [[f"nobody-{number}@example.com", "198.51.100.1"] for number in range(arena.few(60, 24))]
    owner = arena.make.make_account()
    flooding = gevent.spawn(arena.send, "guess", tries=tries, password=WRONG, at_once=8)
    gevent.sleep(0.7)
    began = time.monotonic()
    status = Browser(arena.port, "203.0.113.7").sign_in(owner.email, owner.password).status
    seconds = time.monotonic() - began
    answers = flooding.get()
    wrong = [] if status == 303 else [f"another person got {status}"]
    if seconds > SIGN_IN_SECONDS:
        wrong.append(f"another person waited {seconds:.1f} s to sign in")
    return answers | {"another's sign-in, ms": round(seconds * 1000)}, wrong + looked_at(answers, 30)


@attack("24 guesses at once", "at one password, from one address", quick=True)
def guess_at_once(arena: Arena) -> Found:
    tries = [[arena.make.make_account().email, "198.51.100.2"]] * 24
    answers = arena.send("guess", tries=tries, password=WRONG, at_once=24)
    return answers, looked_at(answers, LIMIT)


@attack("guesses by many addresses", "24 at one password, from addresses of one IPv6 /64")
def guess_by_ipv6(arena: Arena) -> Found:
    email = arena.make.make_account().email
    tries = [[email, f"2001:db8:1:2:{number:x}::{number:x}"] for number in range(24)]
    answers = arena.send("guess", tries=tries, password=WRONG, at_once=4)
    return answers, looked_at(answers, LIMIT)


@attack("an address spelt otherwise", "40 guesses from one address with ports, brackets and as IPv6")
def guess_by_spelling(arena: Arena) -> Found:
    forms = ("198.51.100.3", "198.51.100.3:{}", "::ffff:198.51.100.3", "[::ffff:198.51.100.3]:{}", "::ffff:c633:6403")
    tries = [[f"someone-{number}@example.com", forms[number % 5].format(1000 + number)] for number in range(40)]
    answers = arena.send("guess", tries=tries, password=WRONG, at_once=4)
    return answers, looked_at(answers, 30)


@attack("an e-mail spelt otherwise", "24 guesses at one account by capitals, spaces and wide letters")
def guess_by_email(arena: Arena) -> Found:
    email = arena.make.make_account().email
    name, _, host = email.partition("@")
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in name)
    forms = (email, email.upper(), f" {email} ", f"{name}@EXAMPLE.com", f"{wide}@{host}", f"{email}.")
    tries = [[forms[number % len(forms)], "198.51.100.4"] for number in range(24)]
    answers = arena.send("guess", tries=tries, password=WRONG, at_once=4)
    return answers, looked_at(answers, LIMIT + 2 * 4)  # two of them may be nobody's


@attack("a lock-out by a stranger", "12 guesses at an account that has signed in from elsewhere", quick=True)
def lock_out(arena: Arena) -> Found:
    owner = arena.make.make_account()
    known = arena.sign_in(owner, "203.0.113.8")
    known.post("/sign-out", "/models")
    answers = arena.send("guess", tries=[[owner.email, "198.51.100.5"]] * 12, password=WRONG, at_once=4)
    again = known.sign_in(owner.email, owner.password).status
    elsewhere = Browser(arena.port, "203.0.113.9").sign_in(owner.email, owner.password).status
    wrong = [f"the known browser got {again}"] if again != 303 else []
    return answers, wrong + ([f"another network got {elsewhere}"] if elsewhere != 303 else [])


@attack("two accounts of one address", "sign-ups with one e-mail in five spellings")
def sign_up_twice(arena: Arena) -> Found:
    forms = ["josé@münchen.example", "jose\u0301@xn--mnchen-3ya.example", "JOSÉ@MÜNCHEN.example"]
    forms += [" josé@münchen.example ", "josé@XN--MNCHEN-3YA.EXAMPLE"]
    statuses = [
        Browser(arena.port, "203.0.113.10").post("/sign-up", "/sign-up", email=form, password=PASSWORD).status
        for form in forms
    ]
    made = statuses.count(303)
    back = [Browser(arena.port, "203.0.113.11").sign_in(form, PASSWORD).status for form in forms]
    wrong = [f"{made} accounts were made"] if made != 1 else []
    lost = back.count(401)
    return {"made": made, "signed in": back.count(303)}, wrong + ([f"{lost} spellings can't sign in"] if lost else [])


@attack("a suspended account", "its key and its session, again and again", quick=True)
def go_on_suspended(arena: Arena) -> Found:
    key = arena.make.make_key(account := arena.make.make_account())
    browser = arena.sign_in(account, "203.0.113.12")
    before = [chat(arena.port, key.secret, CALM).status for _ in range(4)]
    done = arena.gateway.run_flask("account", "suspend", account.email)
    after = [chat(arena.port, key.secret, CALM).status for _ in range(8)]
    pages = [browser.get(path).status for path in ("/dashboard/", "/dashboard/keys")]
    wrong = [] if before == [200] * 4 and done.returncode == 0 else [f"before: {before} {done.stderr}"]
    wrong += [f"its key got {after}"] if after != [403] * 8 else []
    return {"403": after.count(403)}, wrong + ([f"its session got {pages}"] if pages != [302, 302] else [])


@attack("a limit lifted by the customer", "keys of a million RPM, by accounts of 3 and of the default")
def lift_limit(arena: Arena) -> Found:
    limited, ordinary = arena.make.make_account(), arena.make.make_account()
    with arena.make.app.app_context(), transaction() as session:
        session.execute(sa.update(Account).where(Account.id == limited.id).values(rpm=3))
    wrong = []
    for account, most in ((limited, 3), (ordinary, DEFAULT_RPM)):
        fields = {"name": "fast", "rpm": "1000000", "budget_month": ""}
        page = arena.sign_in(account, "203.0.113.13").post("/dashboard/keys", "/dashboard/keys/new", **fields)
        secret = re.search(r"sk-[\w-]{20,}", page.text)
        if secret is None:  # such a key is refused
            continue
        answers = [chat(arena.port, secret[0], CALM) for _ in range(5)]
        served = sum(answer.status == 200 for answer in answers)
        told = int(answers[0].headers.get("x-ratelimit-limit-requests", 0))
        if served > most or not 0 < told <= most:
            wrong.append(f"{served} of 5 were served at {told} RPM where {most} are the account's")
    return {"accounts": 2}, wrong


@attack("what Host and Referer say", "forms and pages by other hosts, odd referrers, foreign origins", quick=True)
def say_otherwise(arena: Arena) -> Found:
    owner, wrong = arena.make.make_account(), []
    cases: list[tuple[dict[str, str], int]] = [
        ({}, 303),
        ({"Host": "app:8000"}, 303),
        ({"Host": "app:8000", "Referer": "https://gateway.example/sign-in"}, 303),
        ({"Referer": "http://[odd"}, 303),
        ({"Origin": "https://gateway.example"}, 303),
        ({"Origin": f"https://{EVIL}"}, 400),
    ]
    found = []
    for headers, expected in cases:
        browser = Browser(arena.port, "203.0.113.14")
        browser.headers.pop("Referer")
        browser.headers.update(headers)
        found.append(browser.sign_in(owner.email, owner.password).status)
        wrong += [f"{headers} got {found[-1]}"] if found[-1] != expected else []
    for header in ("Host", "X-Forwarded-Host"):
        browser = Browser(arena.port, "203.0.113.15")
        browser.headers[header] = EVIL
        for path in ("/", "/docs", "/sign-in", "/models"):
            page = browser.get(path)
            if EVIL in page.text or EVIL in str(page.headers):
                wrong.append(f"{path} believes {header}")
    return {"303": found.count(303)}, wrong


@attack("a foreign key's objects", "receipts, keys and models of another account")
def look_at_others(arena: Arena) -> Found:
    mine, other = arena.new_key(), arena.new_key()
    request_id = chat(arena.port, other.secret, CALM).headers["x-request-id"]
    foreign = ask(arena.port, "GET", f"/v1/requests/{request_id}", bearer(mine.secret)).status
    with arena.make.app.app_context():
        email = db.session.scalar(sa.select(Member.email).where(Member.account_id == mine.account_id))
    browser = Browser(arena.port, "203.0.113.16")
    browser.sign_in(str(email), PASSWORD)
    page = browser.get(f"/dashboard/keys/{other.id}").status
    wrong = [] if (foreign, page) == (404, 404) else [f"a foreign receipt is {foreign}, a foreign key {page}"]
    return {"404": [foreign, page].count(404)}, wrong
