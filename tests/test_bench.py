"""The benchmark's own parts: the load reads exactly what the mock upstream sends, and the table says the distance."""

import json

import pytest

from bench.dialects import PROMPT_TOKENS, TEXT, WHOLE_TOKENS, word
from bench.load import Order, Result, join_chunks, look_at, says_all
from bench.plays import BURST_CHUNKS, PLAYS
from bench.report import Row, Run, distance, draw_table, find_oddities, sum_up
from bench.scenarios import SCENARIOS, Figure, Scenario, ask
from bench.servers import run_load, running_upstream
from bridge.providers import PROVIDERS
from bridge.providers.base import ChatOrder, StreamOrder


def cpu_figure(**targets: object) -> Figure:
    return Figure("a request", "µs CPU", lambda result: result.cpu["server"] / 1000 / result.answers, **targets)  # type: ignore[arg-type]


STREAMS = ["play-bursts", "play-anthropic-bursts", "play-gemini-bursts"]


def read_streams(play: str, words: int) -> Result:
    with running_upstream() as upstream:
        body = ask(play, stream=True)
        return run_load(Order(upstream.port, body, clients=2, repeat=False, hold_seconds=0, words=words))


@pytest.mark.parametrize("play", STREAMS)
def test_every_stream_that_the_upstream_plays_is_read_to_its_last_frame_and_proved_word_by_word(play):
    frames = b"".join(PLAYS[play].writes).count(b"\ndata: ")
    result = read_streams(play, BURST_CHUNKS)
    assert (result.statuses, result.frames) == ({"200": 2}, 2 * frames)


def test_a_stream_that_lacks_a_word_is_garbled():
    assert read_streams("play-bursts", BURST_CHUNKS + 1).statuses == {"garbled": 2}


def test_a_stream_out_of_order_is_garbled():
    first, second = word(0).encode(), word(1).encode()
    for said, sound in (([first, second], True), ([second, first], False), ([first], False)):
        body = b"".join(b"\r\n%x\r\n%b" % (len(one), one) for one in said) + b"\r\n0\r\n\r\n"
        assert says_all(body, [b"00", b"01"]) is sound
    assert not says_all(b"\r\nno chunks\r\n", [b"00"])


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_the_plays_are_what_the_providers_own_readers_take(provider):
    play = "play" if provider == "openai" else f"play-{provider}"
    dialect = PROVIDERS[provider]
    outgoing = dialect.write_chat(ChatOrder(json.loads(ask("play-whole", provider)), "bench", 256))
    answer = PLAYS[f"{play}-whole"].writes[0].partition(b"\r\n\r\n")[2]
    completion = dialect.read_answer(answer, outgoing)
    assert completion.body["choices"][0]["message"]["content"] == TEXT
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (PROMPT_TOKENS, WHOLE_TOKENS)
    reader = dialect.open_reader(outgoing, StreamOrder("a", "m", 0, False, 2**20))
    stream = b"".join(PLAYS[f"{play}-bursts"].writes).partition(b"\r\n\r\n")[2]
    reader.feed(join_chunks(b"\r\n" + stream))
    reader.end()
    assert (len(reader.text), reader.finish_reason) == (BURST_CHUNKS, "stop")
    assert reader.usage is not None
    assert reader.usage.completion_tokens == BURST_CHUNKS


@pytest.mark.parametrize("size", range(1, 12))
def test_frames_are_counted_once_wherever_the_reads_part_them(size):
    stream = b"\r\ne\r\ndata: {}\n\n\r\n" * 3 + b"0\r\n\r\n"
    counted, ended, carry = 0, False, b""
    for at in range(0, len(stream), size):
        assert not ended
        frames, ended, carry = look_at(carry, stream[at : at + size])
        counted += frames
    assert (counted, ended) == (3, True)


def test_a_busy_load_counts_its_answers_and_what_they_cost_the_server():
    with running_upstream() as upstream:
        order = Order(
            upstream.port, ask("play-whole"), clients=4, seconds=0.1, warm_seconds=0, processes={"server": upstream.pid}
        )
        result = run_load(order)
    assert list(result.statuses) == ["200"]
    assert 0 < result.answers <= result.statuses["200"]
    assert result.cpu["server"] > 0


def test_a_request_for_no_play_is_not_counted_as_an_answer_of_200():
    with running_upstream() as upstream:
        result = run_load(Order(upstream.port, "{}", seconds=0.05, warm_seconds=0))
    assert list(result.statuses) == ["404"]


def test_figures_are_medians_of_the_rounds_and_their_ratio_to_nginx():
    scenario = Scenario("request", {}, (cpu_figure(reach=25, aim=16),))
    runs = [
        Run("request", target, number, Result(answers=10, cpu={"server": nanos}))
        for target, measured in (("nginx", [100_000, 150_000, 900_000]), ("gateway", [3_000_000, 9, 4_000_000]))
        for number, nanos in enumerate(measured, 1)
    ]
    (row,) = sum_up([scenario], runs)
    assert (row.yardstick, row.gateway, row.ratio) == (15.0, 300.0, 20.0)
    table = draw_table([row])
    assert "20.0 ×" in table
    assert table.endswith("reached, 1.25 × the aim")


def test_a_figure_may_stand_beside_another_scenario_at_the_gateway():
    plain = Scenario("bursts", {}, (cpu_figure(),))
    beside = Scenario("gemini", {}, (cpu_figure(reach=2.5, beside="bursts"),))
    runs = [
        Run(scenario, target, 1, Result(answers=1, cpu={"server": nanos}))
        for scenario, target, nanos in (
            ("bursts", "nginx", 7),
            ("bursts", "gateway", 2_000),
            ("gemini", "gateway", 3_000),
        )
    ]
    row = sum_up([plain, beside], runs)[1]
    assert (row.yardstick, row.gateway, row.ratio, distance(row)) == (2.0, 3.0, 1.5, "reached")


@pytest.mark.parametrize(
    ("gateway", "said"),
    [(160.0, "at the aim"), (200.0, "reached, 1.25 × the aim"), (500.0, "2.00 × the reach"), (None, "")],
)
def test_the_distance_says_where_a_figure_stands(gateway, said):
    assert distance(Row("request", cpu_figure(reach=25, aim=16), yardstick=10.0, gateway=gateway)) == said


def test_chunks_that_came_together_and_answers_that_failed_are_pointed_out():
    scenario = next(scenario for scenario in SCENARIOS if scenario.alone)
    result = Result(answers=3, frames=300, reads=100, statuses={"200": 2, "503": 1})
    failed, together = find_oddities([scenario], [Run(scenario.name, "gateway", 1, result)])
    assert "503" in failed
    assert "3.0 chunks a read" in together
