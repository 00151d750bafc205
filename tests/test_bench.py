"""The benchmark's own parts: the load reads exactly what the mock upstream sends, and the table says the distance."""

import pytest

from bench.load import Order, Result, look_at
from bench.plays import PLAYS
from bench.report import Row, Run, distance, draw_table, find_oddities, sum_up
from bench.scenarios import SCENARIOS, Figure, Scenario, ask
from bench.servers import run_load, running_upstream


def cpu_figure(**targets: object) -> Figure:
    return Figure("a request", "µs CPU", lambda result: result.cpu["server"] / 1000 / result.answers, **targets)  # type: ignore[arg-type]


def test_every_stream_that_the_upstream_plays_is_read_to_its_last_frame():
    frames = b"".join(PLAYS["play-bursts"].writes).count(b"\ndata: ")
    with running_upstream() as upstream:
        order = Order(upstream.port, ask("play-bursts", stream=True), clients=2, repeat=False, hold_seconds=0)
        result = run_load(order)
    assert (result.statuses, result.frames) == ({"200": 2}, 2 * frames)


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
    assert result.statuses["200"] == result.answers
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
    assert (row.nginx, row.gateway, row.ratio) == (15.0, 300.0, 20.0)
    table = draw_table([row])
    assert "20.0 ×" in table
    assert table.endswith("reached, 1.25 × the aim")


@pytest.mark.parametrize(
    ("gateway", "said"),
    [(160.0, "at the aim"), (200.0, "reached, 1.25 × the aim"), (500.0, "2.00 × the reach"), (None, "")],
)
def test_the_distance_says_where_a_figure_stands(gateway, said):
    assert distance(Row("request", cpu_figure(reach=25, aim=16), nginx=10.0, gateway=gateway)) == said


def test_chunks_that_came_together_and_answers_that_failed_are_pointed_out():
    scenario = next(scenario for scenario in SCENARIOS if scenario.alone)
    result = Result(answers=3, frames=300, reads=100, statuses={"200": 2, "503": 1})
    failed, together = find_oddities([scenario], [Run(scenario.name, "gateway", 1, result)])
    assert "503" in failed
    assert "3.0 chunks a read" in together
