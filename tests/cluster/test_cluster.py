"""Replicas behind one address: routing, lost replicas, disconnects, restarts, scaling."""

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.cluster import ClusterProcess, until_slowly
from tests.support.server_process import TINY, all_events, next_event

_PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Tell me a story"}]},
    "/api/chat": {
        "messages": [{"role": "user", "content": "Tell me a story"}],
        # Ollama's dialect reads these here only, and otherwise the story ends before the kill.
        "options": {"ignore_eos": True, "num_predict": 30_000},
    },
}
_LONG: dict[str, Any] = {
    "stream": True,
    "ignore_eos": True,
    "max_tokens": 30_000,
    "n_predict": 30_000,
}


@contextmanager
def _stream(
    server: ClusterProcess, model: str, path: str = "/v1/chat/completions", **more: Any
) -> Iterator[http.client.HTTPResponse]:
    """An endless answer, whose client disconnects at the end."""
    body = {"model": model} | _PATHS[path] | _LONG | more
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    with closing(connection):
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        with closing(response):
            yield response


def _running(server: ClusterProcess, model: str) -> float:
    return server.metrics().sum("llamabind_requests_in_progress", model=f"{model}.gguf")


def test_conversations_stay_with_the_replica_that_has_their_prompt(server: ClusterProcess) -> None:
    texts = [f"{name}, tell me about your day. " * 12 for name in ("Ada", "Ben", "Cleo", "Dora")]
    homes: dict[str, set[str]] = {text: set() for text in texts}
    cached = []
    for question in range(3):
        for text in texts:
            status, headers, answer = server.chat("pair", f"{text} And {question}?")
            assert status == 200, answer
            homes[text].add(headers["x-llamabind-replica"])
            if question:
                cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert all(len(replicas) == 1 for replicas in homes.values()), homes
    assert len(set.union(*homes.values())) == 2, "the conversations are spread"
    assert all(n_cached > 50 for n_cached in cached), cached


def test_keep_alive_does_not_unload_the_model_of_a_replica(server: ClusterProcess) -> None:
    body = {"model": "pair", "prompt": "hello", "stream": False, "keep_alive": 0}
    assert server.post("/api/generate", body | {"options": {"num_predict": 1}})["done"]
    states = server.metrics().sum("llamabind_model_state", model="pair.gguf", state="loaded")
    assert states == 2


def test_a_client_that_disconnects_frees_its_slot(server: ClusterProcess) -> None:
    with _stream(server, "pair") as response:
        assert next_event(response) is not None
        until_slowly(lambda: _running(server, "pair") == 1, "the request runs")
    until_slowly(lambda: _running(server, "pair") == 0, "the request is cancelled")
    name = "llamabind_requests_total"
    assert server.metrics().sum(name, model="pair.gguf", outcome="cancelled") >= 1


def test_a_client_that_disconnects_before_its_answer_frees_its_slot(
    server: ClusterProcess,
) -> None:
    body = {"model": "pair"} | _PATHS["/v1/chat/completions"] | _LONG | {"stream": False}
    with server.send_only("/v1/chat/completions", body):
        until_slowly(lambda: _running(server, "pair") == 1, "the request runs")
    until_slowly(lambda: _running(server, "pair") == 0, "the request is cancelled")


def test_the_lists_and_the_metrics_are_of_all_replicas(server: ClusterProcess) -> None:
    names = {model["id"] for model in server.get("/v1/models")["data"]}
    assert names == {TINY, "vectors.gguf", "pair", "scale"}
    assert {model["name"] for model in server.get("/api/tags")["models"]} == names
    assert {model["name"] for model in server.get("/api/ps")["models"]} == names
    assert len(server.get("/api/v2/models")["loaded_models"]) == 4
    assert server.get("/ready") == {"status": "ok"}
    assert server.request("POST", "/api/v2/models/pair/load")[0] == 501
    assert server.request("GET", "/v1/models/nothing")[0] == 404
    families = list(text_string_to_metric_families(server.metrics_text()))
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.labels["replica"] for sample in samples)
    used = [one for one in samples if one.name == "vllm:kv_cache_usage_perc"]
    assert len({one.labels["replica"] for one in used if "pair" in one.labels["replica"]}) == 2


@pytest.mark.parametrize("path", sorted(_PATHS))
def test_a_lost_replica_ends_its_streams_with_an_error_and_loses_nothing_else(
    server: ClusterProcess, path: str
) -> None:
    until_slowly(lambda: len(server.replicas("pair")) == 2, "both replicas run")
    with _stream(server, "pair", path) as response:
        replica = response.headers["X-Llamabind-Replica"]
        assert response.readline()
        victim = server.server_of(replica)
        victim.kill()
        rest = response.read().decode()
    assert "replica_lost" in rest, rest[-500:]
    assert rest.count("replica_lost") == 1
    # Requests that follow are answered by the other replica, or wait for a new one.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: server.chat("pair", f"hello {n}")[0], range(8)))
    assert answers == [200] * 8


def test_a_lost_ingress_breaks_its_streams_and_leaves_no_request(server: ClusterProcess) -> None:
    until_slowly(lambda: len(server.replicas("pair")) == 2, "both replicas run")
    with _stream(server, "pair") as response:
        assert next_event(response) is not None
        server.ingress().kill()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    # Requests wait for the next ingress; the replicas end what the lost one relayed.
    assert server.chat("pair", "hello")[0] == 200
    until_slowly(lambda: _running(server, "pair") == 0, "the request is cancelled")


def test_only_the_cluster_of_the_file_is_restarted(server: ClusterProcess) -> None:
    file = server.file.with_name("other.toml")
    file.write_text(server.file.read_text().replace(f"port = {server.port}", "port = 1"))
    problem = server.command("restart", file)
    assert f"Ray Serve listens on 127.0.0.1:{server.port} there, the file has" in problem
    assert len(server.replicas("pair")) == 2


def test_a_rolling_restart_fails_no_request(server: ClusterProcess) -> None:
    until_slowly(lambda: len(server.replicas("pair")) == 2, "both replicas run")
    before = server.replicas("pair")
    done = threading.Event()
    results: list[int] = []

    def ask(client: int) -> None:
        while not done.is_set():
            results.append(server.chat("pair", f"hello from {client}")[0])

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, client) for client in range(2)]
        try:
            server.restart()
        finally:
            done.set()
        for one in asking:
            one.result()
    assert set(results) == {200}
    assert not server.replicas("pair") & before


def test_replicas_are_added_under_load_and_removed_after_it(server: ClusterProcess) -> None:
    until_slowly(lambda: len(server.replicas("scale")) == 1, "one replica runs")
    done = threading.Event()

    def ask(client: int) -> None:
        while not done.is_set():
            with _stream(
                server, "scale", max_tokens=400, n_predict=400, user=f"u{client}"
            ) as response:
                assert all_events(response)[-1] == "[DONE]"

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, client) for client in range(6)]
        try:
            until_slowly(lambda: len(server.replicas("scale")) == 3, "three replicas run")
        finally:
            done.set()
        for one in asking:
            one.result()
    # A session stays with its replica, as far as the replica stays.
    homes = [server.chat("scale", "hi", X_Session_Id="one")[1]["x-llamabind-replica"]
             for _ in range(3)]  # fmt: skip
    assert len(set(homes)) == 1
    until_slowly(lambda: len(server.replicas("scale")) == 1, "one replica is left")
