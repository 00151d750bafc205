"""The benchmark's own parts: the load checks every answer, CPU is counted completely, and figures mean what they
say."""

import dataclasses
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import msgspec
import pytest

from bench import __main__ as command
from bench.cold import read_imports
from bench.dialects import DIALECTS, INPUTS, PROMPT_TOKENS, TEXT, WHOLE_TOKENS, word
from bench.doors import DOORS, PROOFS, ask
from bench.flame import draw_svg, draw_top, parse
from bench.gateway import ASKED_BY_RESPONSES
from bench.load import LoadSpec, Result, is_whole_answer, is_whole_stream, join_chunks, look_at
from bench.plays import BURST_CHUNKS, PLAYS, SHORTER, SLOW_CHUNKS, name_play
from bench.processes import cpu_nanos, list_tree
from bench.report import Row, Run, distance, draw_parts, draw_table, find_failures, find_oddities, sum_up
from bench.results import HISTORY, compare, draw_history, figure_of, read_results, write_results
from bench.scenarios import SCENARIOS, WITHOUT, Figure, Scenario
from bench.servers import ROOT, BenchError, run_load, running_upstream
from bridge.dialects.embeddings.request import EmbeddingsRequest, read_embeddings
from bridge.dialects.images.request import ImagesRequest, read_images
from bridge.dialects.messages.read import read_conversation
from bridge.dialects.messages.request import check_request
from bridge.dialects.responses.read import read_responses
from bridge.dialects.responses.request import ResponsesRequest
from bridge.providers import PROVIDERS
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order
from tests.gateway import as_environment
from tests.rooms import make_settings

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def cpu_figure(**more: object) -> Figure:
    return Figure("a request", "µs CPU", lambda result: result.cpu["server"] / 1000 / result.answers, **more)  # type: ignore[arg-type]


def run_of(scenario: str, target: str, micros: float, number: int = 1, **more: object) -> Run:
    cpu = {"server": round(micros * 1000), "postgres": round(micros * 100)}
    return Run("one-worker", scenario, target, number, Result(answers=1, cpu=cpu, **more))  # type: ignore[arg-type]


# what comes back


def read_streams(play: str, words: int, dialect: str = "openai") -> Result:
    body, proof = ask(play, stream=True), dataclasses.asdict(PROOFS[dialect])
    with running_upstream() as upstream:
        return run_load(LoadSpec(upstream.port, body, clients=2, repeat=False, hold_seconds=0, words=words, **proof))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_stream_that_the_upstream_plays_is_read_to_its_last_frame_and_proved_word_by_word(dialect):
    play = name_play(dialect, "bursts-short")
    frames = b"".join(PLAYS[play].writes).count(b"\ndata: ")
    result = read_streams(play, BURST_CHUNKS // SHORTER, dialect)
    assert (result.statuses, result.frames) == ({"200": 2}, 2 * frames)


def test_a_stream_that_lacks_a_word_counts_as_garbled():
    assert read_streams("play-slow-short", SLOW_CHUNKS).statuses == {"garbled": 2}


def test_a_stream_out_of_order_is_not_whole():
    first, second = word(0).encode(), word(1).encode()
    for said, sound in (([first, second], True), ([second, first], False), ([first], False)):
        body = b"".join(b"\r\n%x\r\n%b" % (len(one), one) for one in said) + b"\r\n0\r\n\r\n"
        assert is_whole_stream(body, [b"00", b"01"]) is sound
    assert not is_whole_stream(b"\r\nno chunks\r\n", [b"00"])


def test_an_end_mark_counts_in_the_last_event_alone():
    events = b"data: [DONE]\n\ndata: word00\n\n"
    assert not is_whole_stream(b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(events), events), [b"00"], b"[DONE]")


def test_a_stream_whose_numbers_have_a_gap_is_not_whole():
    for numbers, sound in (((0, 1), True), ((0, 2), False), ((1, 2), False), ((0,), False)):
        events = b"".join(b'event: x\ndata: {"sequence_number":%d}\n\n' % number for number in numbers)
        events += b"event: y\ndata: {}\n\n" if len(numbers) == 1 else b""
        body = b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)
        assert is_whole_stream(body, [], numbered=True) is sound
        assert is_whole_stream(body, [])


def test_an_answer_is_whole_if_it_is_json_to_its_end_and_says_the_text():
    whole = PLAYS["play-whole"].writes[0].partition(b"\r\n\r\n")[2]
    assert is_whole_answer(whole, TEXT.encode())
    assert not is_whole_answer(whole[:-1], TEXT.encode())
    assert not is_whole_answer(whole, b"Berlin")


@pytest.mark.parametrize("name", DIALECTS)
def test_the_plays_are_what_the_providers_own_readers_take(name):
    provider, upstream_id = ("openai", ASKED_BY_RESPONSES) if name == "responses" else (name, "bench")
    dialect = PROVIDERS[provider]
    outgoing = dialect.write_request(make_order(json.loads(ask("play-whole", name)), upstream_id, 256, wire=""))
    answer = PLAYS[name_play(name, "whole")].writes[0].partition(b"\r\n\r\n")[2]
    completion = dialect.read_answer(answer, outgoing)
    assert body_of(completion)["choices"][0]["message"]["content"] == TEXT
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (PROMPT_TOKENS, WHOLE_TOKENS)
    reader = dialect.open_reader(outgoing, chat_order("a", "m", 0, False, 2**20))
    stream = b"".join(PLAYS[name_play(name, "bursts")].writes).partition(b"\r\n\r\n")[2]
    reader.feed(join_chunks(b"\r\n" + stream))
    reader.end()
    assert (len(reader.text), reader.finish_reason) == (BURST_CHUNKS, "stop")
    assert reader.usage is not None
    assert reader.usage.completion_tokens == BURST_CHUNKS


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.door != "chat"], ids=lambda one: one.name)
def test_other_endpoints_are_measured_by_requests_that_they_take(scenario):
    body = json.loads(scenario.spec["body"])
    assert scenario.spec_for("gateway", 1, ("",), 1.0).path == DOORS[scenario.door].path
    if scenario.door == "embeddings":
        asked = read_embeddings(body, msgspec.convert(body, EmbeddingsRequest))
        assert (len(asked.inputs), asked.encoding) == (INPUTS, "base64")
        return
    if scenario.door == "images":
        asked = read_images(body, msgspec.convert(body, ImagesRequest))
        assert (asked.model, asked.choices, asked.quality) == ("bench-images", 1, "high")
        return
    if scenario.door == "messages":
        check_request(body)
        conversation = read_conversation(body, 1, [])
    else:
        conversation = read_responses(body, msgspec.convert(body, ResponsesRequest), 1).conversation
    assert conversation.model == f"bench-{scenario.provider}"


def test_what_a_figure_stands_beside_is_measured_before_it_and_in_every_round_that_has_it():
    for place, scenario in enumerate(SCENARIOS):
        for beside in (figure.beside for figure in scenario.figures if figure.beside):
            assert beside in [one.name for one in SCENARIOS[:place]]
            assert BY_NAME[beside].in_quick or not scenario.in_quick


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
        spec = LoadSpec(
            upstream.port, ask("play-whole"), clients=4, seconds=0.1, warm_seconds=0, processes={"server": upstream.pid}
        )
        result = run_load(spec)
    assert list(result.statuses) == ["200"]
    assert 0 < result.answers <= result.statuses["200"]
    assert result.cpu["server"] > 0


def test_a_load_of_so_many_requests_sends_no_more():
    with running_upstream() as upstream:
        result = run_load(LoadSpec(upstream.port, ask("play-whole"), clients=4, requests=50, warm_seconds=0, text=TEXT))
    assert (result.answers, result.statuses) == (50, {"200": 50})


def test_a_request_for_no_play_is_not_counted_as_an_answer_of_200():
    with running_upstream() as upstream:
        result = run_load(LoadSpec(upstream.port, "{}", seconds=0.05, warm_seconds=0))
    assert list(result.statuses) == ["404"]


# what it cost

BUSY = """
import subprocess, sys, threading, time
def burn(seconds):
    while time.thread_time() < seconds:
        pass
thread = threading.Thread(target=burn, args=(0.05,))
thread.start()
thread.join()
import resource
child = "import time\\nwhile time.process_time() < 0.1: pass"
subprocess.run([sys.executable, "-c", child], check=True)
ended = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.process_time_ns(), round((ended.ru_utime + ended.ru_stime) * 1e9), flush=True)
sys.stdin.read()
"""
TICKS = 2 * 10_000_000  # user and system time, each cut to whole ticks


def test_threads_and_processes_that_have_ended_are_in_the_cpu_of_a_tree():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        own, ended = map(int, process.stdout.readline().split())
        counted = cpu_nanos(process.pid)
        assert list_tree(process.pid) == [process.pid]
        process.communicate()
    assert own > 50_000_000
    assert ended > 100_000_000
    assert counted >= own + ended - TICKS


def test_a_process_that_is_gone_has_used_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert (list_tree(process.pid), cpu_nanos(process.pid)) == ([], 0)
    assert os.getpid() in list_tree(os.getppid())


# what the figures say


def test_figures_are_medians_of_the_rounds_and_their_ratio_to_nginx_in_the_same_round():
    scenario = Scenario("request", {}, (cpu_figure(reach=25, aim=16),))
    runs = [
        run_of("request", target, micros, number)
        for target, measured in (("nginx", [10, 15, 40]), ("gateway", [200, 390, 600]))
        for number, micros in enumerate(measured, 1)
    ]
    (row,) = sum_up([scenario], runs)
    assert (row.yardstick, row.gateway) == (15.0, 390.0)
    assert (row.ratios, row.ratio) == ({1: 20.0, 2: 26.0, 3: 15.0}, 20.0)
    table = draw_table([row])
    assert "15.0–26.0" in table
    assert table.endswith("reached, 1.25 × the aim")


def test_a_figure_may_stand_beside_another_scenario_at_the_gateway():
    plain = Scenario("bursts", {}, (cpu_figure(),))
    beside = Scenario("gemini", {}, (cpu_figure(reach=2.5, beside="bursts"),))
    runs = [run_of("bursts", "nginx", 0.007), run_of("bursts", "gateway", 2), run_of("gemini", "gateway", 3)]
    row = sum_up([plain, beside], runs)[1]
    assert (row.yardstick, row.gateway, row.ratio, distance(row)) == (2.0, 3.0, 1.5, "reached")


@pytest.mark.parametrize(
    ("gateway", "said"),
    [(160.0, "at the aim"), (200.0, "reached, 1.25 × the aim"), (500.0, "2.00 × the reach"), (None, "")],
)
def test_the_distance_says_where_a_figure_stands(gateway, said):
    gateways = {} if gateway is None else {1: gateway}
    assert distance(Row("request", cpu_figure(reach=25, aim=16), {1: 10.0}, gateways)) == said


def test_a_part_costs_what_a_request_costs_less_without_it():
    runs = [run_of("parts", "gateway", 400), run_of("parts", "gateway", 500, 2)]
    for part in WITHOUT:
        runs += [run_of("parts", f"gateway without {part}", 300), run_of("parts", f"gateway without {part}", 440, 2)]
    lines = [line.split() for line in draw_parts(runs).splitlines()]
    assert ["of", "it", "the", "ledger", "80.0", "8.00"] in lines
    assert ["the", "server", "by", "itself", "370", "37.0"] in lines
    assert draw_parts(runs[:2]) == ""


def test_whatever_is_not_a_whole_answer_is_a_failure_and_chunks_that_came_together_are_odd():
    garbled = run_of("alone", "gateway", 1, frames=300, reads=100, statuses={"200": 2, "garbled": 1})
    (failure,) = find_failures([BY_NAME["alone"]], [garbled])
    assert "'garbled': 1" in failure
    (oddity,) = find_oddities([BY_NAME["alone"]], [garbled])
    assert "3.0 chunks a read" in oddity
    refused = run_of("overload", "gateway", 1, statuses={"200": 2, "429": 3, "503": 4})
    assert find_failures([BY_NAME["overload"]], [refused]) == []
    assert find_failures([BY_NAME["request"]], [Run("one-worker", "request", "gateway", 1, Result())])


@pytest.mark.parametrize(("failures", "status"), [(["request: garbled"], 1), ([], 0)])
def test_a_wrong_answer_makes_the_run_fail(monkeypatch, tmp_path, capsys, failures, status):
    path = tmp_path / "results.json"
    monkeypatch.setattr(command, "measure_setups", lambda *_: ([], [], failures))
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(path)])
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    assert command.main() == status
    assert read_results(path)["notes"][: len(failures)] == failures
    assert ("WRONG" in capsys.readouterr().out) is bool(failures)


# what is kept


def results_of(tmp_path, *micros: float):
    runs = [run_of("request", "nginx", 10, number) for number in range(1, len(micros) + 1)]
    runs += [run_of("request", "gateway", value, number) for number, value in enumerate(micros, 1)]
    rows = sum_up([Scenario("request", {}, (cpu_figure(),))], runs)
    path = tmp_path / f"{micros[0]}.json"
    write_results(path, {"load": 0.1}, [figure_of("one-worker", row) for row in rows], runs, [])
    return read_results(path)


def test_results_keep_every_repetition_and_the_machine(tmp_path):
    results = results_of(tmp_path, 100, 120, 110)
    assert results["figures"][0]["values"] == [10.0, 12.0, 11.0]
    assert len(results["runs"]) == 6
    assert set(results["machine"]) == {"cpu", "cores", "kernel", "python"}
    assert results["commit"]
    with pytest.raises(BenchError):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("after", "change", "said"),
    [((50, 52, 54), "-52.7 %", "better"), ((200, 220, 210), "+90.9 %", "worse"), ((115, 118, 130), "+7.3 %", "")],
)
def test_a_comparison_says_the_change_and_whether_it_exceeds_the_spread(tmp_path, after, change, said):
    _heading, ratio, micros = compare(results_of(tmp_path, 100, 120, 110), results_of(tmp_path, *after)).splitlines()
    for line in (ratio, micros):
        assert change in line
        assert [word for word in ("better", "worse") if word in line] == ([said] if said else [])
    assert "× nginx" in ratio
    assert "µs CPU" in micros


def test_the_history_has_a_row_with_as_many_cells_as_headings(tmp_path):
    results = results_of(tmp_path, 100)
    results["figures"][0]["figure"] = "a request, 64 clients"
    heading, _line, row = draw_history(results).splitlines()
    assert heading.count("|") == row.count("|")
    assert "| 10.0 × |" in row


def test_the_history_is_of_figures_that_are_measured_and_its_page_has_their_headings(tmp_path):
    titles = {figure.title.strip() for scenario in SCENARIOS for figure in scenario.figures}
    assert set(HISTORY.values()) - titles == set()
    heading = draw_history(results_of(tmp_path, 100)).splitlines()[0]
    assert heading in (ROOT / "docs" / "performance.md").read_text().splitlines()


def test_imports_are_summed_up_by_package():
    heading = "import time: self [us] | cumulative | imported package\n"
    printed = f"{heading}import time:  10 |  30 |   a.b\nimport time: 5 | 5 | a\n"
    assert read_imports(printed) == {"a": 15}


# where the time goes

SAMPLED = """
import os, signal
from bench import sampling
def burn():
    while not sampling.samples:
        pass
sampling.start()
burn()
signal.setitimer(signal.ITIMER_PROF, 0)
os.kill(os.getpid(), signal.SIGUSR2)
print(os.getpid())
"""


def test_a_worker_counts_where_it_spends_its_cpu_time(tmp_path):
    environment = as_environment(make_settings(tmp_path)) | {"BENCH_SAMPLES": str(tmp_path / "samples")}
    command = [sys.executable, "-c", SAMPLED]
    printed = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    stacks = parse((tmp_path / f"samples.{printed.strip()}").read_text().splitlines())
    assert {stack[-1].partition(" ")[0] for stack in stacks} == {"burn"}
    assert {stack[0].partition(" ")[0] for stack in stacks} == {"<module>"}


STACKS = ["outer (bridge/a.py:1);inner <of> (bridge/b.py:2) 3", "outer (bridge/a.py:1) 1", "gevent loop 4"]


def test_a_flame_graph_has_a_box_for_each_function_as_wide_as_its_share():
    graph = ElementTree.fromstring(draw_svg(parse(STACKS), "a & b"))  # noqa: S314 - we wrote it
    space = "{http://www.w3.org/2000/svg}"
    boxes = {}
    for box in graph.iter(f"{space}g"):
        rectangle = box.find(f"{space}rect")
        assert rectangle is not None
        boxes[box.findtext(f"{space}title")] = (float(rectangle.get("x", "")), float(rectangle.get("width", "")))
    assert boxes == {
        "all: 100.0%, 8 samples": (0.0, 1400.0),
        "gevent loop: 50.0%, 4 samples": (0.0, 700.0),
        "outer (bridge/a.py:1): 50.0%, 4 samples": (700.0, 700.0),
        "inner <of> (bridge/b.py:2): 37.5%, 3 samples": (700.0, 525.0),
    }


def test_the_functions_with_most_time_of_their_own_come_first():
    _heading, first, second, third = (line.split("  ") for line in draw_top(parse(STACKS)).splitlines())
    assert [cell.strip() for cell in first if cell] == ["50.0%", "50.0%", "gevent loop"]
    assert [cell.strip() for cell in second if cell] == ["37.5%", "37.5%", "inner <of> (bridge/b.py:2)"]
    assert [cell.strip() for cell in third if cell] == ["12.5%", "50.0%", "outer (bridge/a.py:1)"]
