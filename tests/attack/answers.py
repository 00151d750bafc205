"""Attacks by an upstream's answers: the customer who asked may wait, and no other."""

from tests.attack.arena import Arena
from tests.attack.attacks import Found, attack, expect

SERVED = ("200", "400", "503", "closed")


def read(arena: Arena, *models: str, stream: bool | None = None) -> Found:
    count = arena.few(2, 1)
    answers = arena.send("read_models", key=arena.new_key().secret, models=models, count=count, stream=stream)
    return answers, expect(answers, *SERVED)


@attack("an event of 15 MiB", "one event in drips; lines, comments and breaks without end", quick=True)
def read_large_events(arena: Arena) -> Found:
    return read(arena, "large_event", "endless_line", "endless_comment", "many_breaks", stream=True)


@attack("whole answers of 30 MiB", "one text, three million numbers, ten million brackets")
def read_large_answers(arena: Arena) -> Found:
    return read(arena, "large_json", "values_json", "deep_json")


@attack("many small chunks", "40,000 events in bursts; a stream byte by byte")
def read_chunks(arena: Arena) -> Found:
    return read(arena, "many_chunks", "single_bytes", stream=True)


@attack("calls and thoughts in pieces", "4 MiB of arguments in 50,000 pieces, 5,000 calls, fences", quick=True)
def read_pieces(arena: Arena) -> Found:
    return read(arena, "long_arguments", "many_calls", "long_reasoning", stream=True)


@attack("the same from other dialects", "thoughts, text and arguments in 20,000 pieces each")
def read_dialects(arena: Arena) -> Found:
    return read(arena, "anthropic-pieces", "gemini-pieces", stream=True)


@attack("refusals of 20 MiB", "a long error, a head without end")
def read_errors(arena: Arena) -> Found:
    return read(arena, "long_error", "endless_head")
