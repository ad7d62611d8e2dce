"""The benchmarks without a real server: prompts, reading streams, statistics, goals."""

import asyncio
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from bench.contest import Contest, Run
from bench.load import Endpoint, RequestResult, Shot, fire
from bench.prompts import user, words
from bench.report import contest_lines, goal_ratio, is_reached, write_json
from bench.scenarios import GROUPS, OURS, PEER_SPLIT, PEER_UNIFIED, SCENARIOS, find_scenarios
from bench.servers import ServerFailedError, ServerSettings, free_port, load_body
from bench.sse import Arrival, count_events, read_document, read_stream
from bench.start import measure_start, our_start_command
from bench.summary import Spread, ratios
from gguf_writer import Q8_0_BLOCK, encode_entries, write_gguf
from make_random_model import SHAPES, LlamaShape, write_random_model

from llamabind.gguf.header import read_gguf_header


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _delta(text: str | None, finish_reason: str | None = None) -> bytes:
    delta = {} if finish_reason else {"content": text}
    return _event({"choices": [{"delta": delta, "finish_reason": finish_reason}]})


def _usage(prompt: int, completion: int, cached: int) -> bytes:
    details = {"cached_tokens": cached}
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return _event({"choices": [], "usage": counts | {"prompt_tokens_details": details}})


ROLE = _event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
DONE = b"data: [DONE]\n\n"
ANSWER = ROLE + _delta("a") + _delta("b") + _delta(None, "length") + _usage(20, 2, 5) + DONE


# -- prompts


def test_a_prompt_has_n_words_and_another_seed_changes_its_first_words():
    texts = [words(1000, "long", seed) for seed in range(20)]
    assert all(len(text.split(" ")) == 1000 for text in texts)
    assert len({tuple(text.split(" ")[:4]) for text in texts}) == 20
    assert words(1000, "long", 3) == texts[3]


def test_each_round_has_new_prompts_and_they_are_equal_for_all_contestants():
    for scenario in SCENARIOS.values():
        assert scenario.shots(0) == scenario.shots(0)
        assert not set(map(_text, scenario.shots(0))) & set(map(_text, scenario.shots(1)))


def _text(shot: Shot) -> str:
    return " ".join(message["content"] for message in shot.messages)


def test_the_shared_prefix_scenario_differs_only_in_the_last_message():
    shots = SCENARIOS["shared-prefix"].shots(0)
    assert len(shots) == 16
    assert len({shot.messages[0]["content"] for shot in shots}) == 1
    assert len({shot.messages[1]["content"] for shot in shots}) == 16


def test_groups_name_scenarios_and_each_is_found_once():
    assert all(name in SCENARIOS for members in GROUPS.values() for name in members)
    names = [scenario.name for scenario in find_scenarios(["distinct", "distinct-4", "single"])]
    assert names == ["distinct-1", "distinct-4", "distinct-16", "single"]


def test_the_gpu_groups_long_prompt_fits_one_slot_of_a_split_kv_cache():
    assert "gpu-stall" in GROUPS["gpu"]
    scenario = SCENARIOS["gpu-stall"]
    needed = max(len(_text(shot).split()) + shot.max_tokens for shot in scenario.shots(0))
    assert needed < scenario.settings.n_ctx / scenario.settings.n_parallel


def test_the_pressure_scenario_has_about_half_of_the_kv_cells_it_needs():
    scenario = SCENARIOS["pressure"]
    needed = sum(len(_text(shot).split()) + shot.max_tokens for shot in scenario.shots(0))
    assert 0.4 * needed < scenario.settings.n_ctx < 0.6 * needed


# -- streams


def test_only_events_with_text_count_for_a_streams_times():
    arrivals = [
        Arrival(1.0, ROLE),
        Arrival(2.0, _delta("a")),
        Arrival(2.5, _delta("b")),
        Arrival(4.0, _delta("c") + _delta(None, "length")),
        Arrival(5.0, _usage(20, 3, 5) + DONE),
    ]
    reading = read_stream(arrivals)
    assert reading.text_seconds == [2.0, 2.5, 4.0]
    assert reading.largest_gap == 1.5
    assert reading.usage["completion_tokens"] == 3
    assert reading.finish_reason == "length"
    assert reading.is_done
    assert reading.error is None


@pytest.mark.parametrize("size", [1, 3, 17])
def test_an_event_cut_into_pieces_counts_when_its_last_byte_arrives(size: int):
    data = ANSWER.replace(b"\n", b"\r\n")
    arrivals = [Arrival(i, data[i : i + size]) for i in range(0, len(data), size)]
    reading = read_stream(arrivals)
    assert len(reading.text_seconds) == 2
    assert reading.text_seconds[0] >= data.index(b'"a"')
    assert reading.is_done


def test_sse_comments_are_ignored():
    reading = read_stream([Arrival(0.0, b":\n\n" + DONE)])
    assert reading.is_done
    assert reading.text_seconds == []


def test_a_stream_with_an_error_event_is_not_done():
    error = {"error": {"message": "context size exceeded", "code": 500}}
    reading = read_stream([Arrival(0.0, _delta("a") + _event(error))])
    assert reading.error == "context size exceeded"
    assert not reading.is_done


def test_count_events_counts_all_data_lines():
    assert count_events(ANSWER) == 6


# -- requests


class FakeServer:
    """Answers like a server; `bodies` holds the requests in the order of arrival."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.first_is_released = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        text = body["messages"][-1]["content"]
        if text == "refuse":
            return web.json_response({"error": {"message": "too long"}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if text == "long":
            await response.write(ROLE + _delta("a"))
            await self.first_is_released.wait()
            await response.write(_delta("b") + _usage(20, 2, 5) + DONE)
            return response
        self.first_is_released.set()
        await response.write(ROLE + _delta("a") if text == "break off" else ANSWER)
        return response


async def _fire(*shots: Shot) -> tuple[list[RequestResult], FakeServer]:
    fake = FakeServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", fake.answer)
    async with TestServer(app) as server:
        endpoint = Endpoint(str(server.make_url("/v1/chat/completions")), "some.gguf")
        results = await asyncio.to_thread(fire, endpoint, shots)
    return results, fake


async def test_token_counts_come_from_the_usage_that_the_server_reports():
    [result], fake = await _fire(Shot((user("hello"),), 7))
    assert (result.n_prompt, result.n_cached, result.n_tokens) == (20, 5, 2)
    assert result.error is None
    assert result.first_text is not None
    assert result.last_text is not None
    assert result.started <= result.first_text <= result.last_text <= result.ended
    [body] = fake.bodies
    assert body["model"] == "some.gguf"
    assert body["max_tokens"] == 7
    assert body["ignore_eos"]
    assert body["stream_options"] == {"include_usage": True}


def test_a_shot_that_is_not_streamed_asks_for_one_document_and_has_its_own_fields():
    shot = Shot((user("hello"),), 7, is_streamed=False, fields=(("temperature", 0.8),))
    body = shot.body("some.gguf", 1)
    assert body["stream"] is False
    assert "stream_options" not in body
    assert body["temperature"] == 0.8


def test_an_answer_in_one_document_is_read():
    document = {
        "choices": [{"message": {"content": "a b"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 2},
    }
    data = json.dumps(document).encode()
    reading = read_document([Arrival(1.0, data[:9]), Arrival(2.0, data[9:])])
    assert reading.is_done
    assert reading.usage["completion_tokens"] == 2
    assert read_document([]).is_done is False


@pytest.mark.parametrize("name", [*GROUPS["tiny"], *GROUPS["large-vocabulary"]])
def test_a_scenario_with_a_model_of_its_own_names_one_that_exists(name: str):
    scenario = SCENARIOS[name]
    assert scenario.model in ("bundled", *SHAPES)
    longest = max(len(_text(shot).split()) + shot.max_tokens for shot in scenario.shots(0))
    # The chat template adds about 25 tokens; each slot of a split KV cache has a part.
    assert longest + 50 < scenario.settings.n_ctx / scenario.settings.n_parallel


async def test_a_refused_request_and_a_broken_stream_leave_other_results_unchanged():
    shots = [Shot((user(text),), 7) for text in ("hello", "refuse", "break off")]
    results, _ = await _fire(*shots)
    errors = [result.error for result in results]
    assert errors == [None, "HTTP 400: too long", "the stream ended without [DONE]"]


async def test_a_shot_with_after_events_waits_for_events_of_the_first_stream():
    late = Shot((user("late"),), 7, after_events=2)
    results, fake = await _fire(Shot((user("long"),), 7), late)
    assert [body["messages"][0]["content"] for body in fake.bodies] == ["long", "late"]
    assert [result.error for result in results] == [None, None]
    first_text = results[0].first_text
    assert first_text is not None
    assert results[1].started >= first_text


async def test_a_shot_that_waits_is_sent_when_the_first_request_fails():
    late = Shot((user("late"),), 7, after_events=99)
    results, _ = await _fire(Shot((user("refuse"),), 7), late)
    assert [result.error for result in results] == ["HTTP 400: too long", None]


async def test_a_refused_connection_is_the_error_of_the_request():
    endpoint = Endpoint("http://127.0.0.1:1/v1/chat/completions", "some.gguf")
    [result] = await asyncio.to_thread(fire, endpoint, [Shot((user("hello"),), 7)])
    assert "ClientConnectorError" in (result.error or "")


def test_the_decode_rate_excludes_the_first_token():
    result = RequestResult(0.0, 4.0, first_text=1.0, last_text=3.0, n_tokens=21)
    assert result.tokens_per_second == 10.0
    assert RequestResult(0.0, 4.0).tokens_per_second == 0.0


def test_a_load_contains_only_the_settings_that_are_not_none():
    assert load_body(ServerSettings(4096, 16)) == {"n_ctx": 4096, "n_parallel": 16}
    chosen = load_body(ServerSettings(4096, 16, layout="split", threads=2, gpu_layers=-1))
    assert chosen["kv_unified"] is False
    assert chosen["threads"] == 2
    assert chosen["n_gpu_layers"] == -1


# -- statistics


def test_a_spread_has_smallest_median_and_largest():
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(1.0, 2.5, 10.0)
    assert Spread.of([]) is None
    assert Spread(1.0, 2.5, 1000.0).text("s") == "2.5 s (1 to 1000)"


def test_ratios_pair_the_rounds_and_skip_zero():
    assert ratios([2.0, 3.0], [4.0, 12.0]) == [0.5, 0.25]
    assert ratios([2.0, 3.0], [0.0, 6.0]) == [0.5]


def _contest(name: str, **values: list[float]) -> Contest:
    contest = Contest(SCENARIOS[name])
    for contestant, numbers in values.items():
        for round_number, value in enumerate(numbers):
            result = RequestResult(0.0, value, 0.1, value, 0.01, 100, 0, 32)
            run = Run(contestant.replace("_", "-"), round_number, value, 0.5, (result,))
            contest.runs.append(run)
    return contest


def test_ours_is_compared_with_the_better_peer():
    contest = _contest("shared-prefix", ours=[6, 7], peer_unified=[90, 91], peer_split=[48, 70])
    [goal] = contest.scenario.goals
    assert goal.others == (PEER_UNIFIED, PEER_SPLIT)
    compared = goal_ratio(contest, goal)
    assert compared is not None
    assert compared[0] == PEER_SPLIT
    assert compared[1].largest == 6 / 48
    assert is_reached(contest, goal) is True


def test_the_larger_value_is_better_if_the_metric_is_a_rate():
    contest = _contest(
        "distinct-4", ours_unified=[90], ours_split=[85], peer_unified=[100], peer_split=[80]
    )
    goals = contest.scenario.goals
    assert [is_reached(contest, goal) for goal in goals] == [False, True, None]
    report = "\n".join(contest_lines(contest))
    assert "ours-unified / peer-unified = 0.9" in report
    assert "ours-split / peer-split = 1.06" in report
    assert "MISSED" in report


def test_a_goal_is_missed_when_one_of_our_requests_failed():
    contest = _contest("shared-prefix", ours=[1], peer_unified=[90], peer_split=[48])
    failed = RequestResult(0.0, 1.0, error="it broke")
    contest.runs.append(Run(OURS.name, 1, 1.0, 0.5, (failed,)))
    assert is_reached(contest, contest.scenario.goals[0]) is False
    assert "ours failed: it broke" in "\n".join(contest_lines(contest))


def test_without_a_peer_is_reached_is_none():
    contest = _contest("shared-prefix", ours=[1])
    assert is_reached(contest, contest.scenario.goals[0]) is None


def test_the_json_report_has_every_request(tmp_path: Path):
    contest = _contest("shared-prefix", ours=[6], peer_unified=[90], peer_split=[48])
    write_json(tmp_path / "report.json", [contest], {"model": "some.gguf"})
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["facts"]["model"] == "some.gguf"
    [scenario] = document["scenarios"]
    assert scenario["goals"][0]["ratio"]["median"] == 6 / 48
    assert scenario["runs"][0]["results"][0]["n_tokens"] == 32


# -- random models


def test_a_q8_0_tensor_of_two_blocks_a_row_has_64_columns(tmp_path: Path):
    blocks = np.zeros((3, 2), Q8_0_BLOCK)
    path = write_gguf(tmp_path / "blocks.gguf", encode_entries({"a": 1}), {"t": blocks})
    data = path.read_bytes()
    assert struct.pack("<I2QIQ", 2, 64, 3, 8, 0) in data
    assert len(data) % 32 == 0


def test_a_random_models_header_is_that_of_a_llama_of_its_shape(tmp_path: Path):
    vocab_file = write_gguf(
        tmp_path / "vocab.gguf", encode_entries({"tokenizer.ggml.pre": "x"}), {}
    )
    path = write_random_model(tmp_path / "random.gguf", vocab_file, LlamaShape())
    header = read_gguf_header(path)
    assert header.architecture == "llama"
    assert header.context_length == 2048
    assert write_random_model(tmp_path / "twin.gguf", vocab_file, LlamaShape()).read_bytes() == (
        path.read_bytes()
    )


# -- starts

_STARTING_SERVER = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    n_requests = 0

    def do_POST(self):
        Handler.n_requests += 1
        self.send_response(200 if Handler.n_requests > 2 else 503)
        self.end_headers()
        if Handler.n_requests > 2:
            self.wfile.write({answer!r})

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_start_is_measured_up_to_the_first_text_of_the_answer(tmp_path: Path):
    (tmp_path / "server.py").write_text(_STARTING_SERVER.format(answer=ANSWER))
    port = free_port()
    command = [sys.executable, str(tmp_path / "server.py"), str(port)]
    shot = Shot((user("hello"),), 4)
    start = measure_start(command, port, Path("m.gguf"), shot, tmp_path / "log")
    assert start.result.error is None
    assert start.result.n_tokens == 2
    assert start.result.ttft is not None
    assert 0 < start.result.ttft <= start.result.ended - start.result.started
    assert start.cpu_seconds > 0


def test_a_program_that_ends_at_its_start_is_an_error_with_its_log(tmp_path: Path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    shot = Shot((user("hello"),), 4)
    with pytest.raises(ServerFailedError, match="no such model"):
        measure_start(command, free_port(), Path("m.gguf"), shot, tmp_path / "log")


def test_our_server_is_started_with_the_model_or_with_its_folder():
    settings = ServerSettings(n_ctx=512, n_parallel=2)
    model = Path("/models/m.gguf")
    assert "--model" in our_start_command(model, settings, 1, by_name=False)
    command = our_start_command(model, settings, 1, by_name=True)
    assert command[command.index("--models-dir") + 1] == "/models"
