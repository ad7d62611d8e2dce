"""The examples of /api/v2 on a running server with the bundled model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e

_CHAT = f"/api/v2/chat/{TINY}"
_FRANCE = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
_STORY = [{"role": "user", "content": "Tell me a story"}]
_PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        # With more threads than idle cores a small model is slower by orders of magnitude.
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        yield process


def test_the_bundled_model_is_listed_with_its_metadata(server: ServerProcess) -> None:
    listed = {model["id"]: model for model in server.get("/api/v2/models")["available_models"]}
    metadata = listed[TINY]["metadata"]
    assert metadata["model_type"] == "llama"
    assert metadata["parameters"]["context_length"] >= 2048


def test_the_reference_chat_example_answers(server: ServerProcess) -> None:
    body = {"messages": _FRANCE, "temperature": 0.7, "top_p": 0.95, "n_predict": 100}
    answer = server.post(_CHAT, body)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == TINY
    choice = answer["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_greedy_answer_is_the_readmes_sentence(server: ServerProcess) -> None:
    answer = server.post(_CHAT, {"messages": _FRANCE, "temperature": 0})
    assert answer["choices"][0]["message"]["content"] == _PARIS
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_stream_gives_the_same_sentence_in_several_events(server: ServerProcess) -> None:
    with server.open(f"{_CHAT}/stream", {"messages": _FRANCE, "temperature": 0}) as response:
        *chunks, done = all_events(response)
    assert done == "[DONE]"
    assert len(chunks) > 3
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta["content"] for delta in deltas) == _PARIS
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_story_starts_with_once_upon_a_time_and_ends_by_itself(server: ServerProcess) -> None:
    with server.open(f"{_CHAT}/stream", {"messages": _STORY, "temperature": 0}) as response:
        *chunks, _ = all_events(response)
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text.startswith("Once upon a time")
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_chat_loads_the_model_again_with_its_last_settings(server: ServerProcess) -> None:
    server.post(f"/api/v2/models/{TINY}/unload")
    answer = server.post(_CHAT, {"messages": _FRANCE, "n_predict": 3})
    assert answer["usage"]["completion_tokens"] <= 3
    settings = server.get(f"/api/v2/models/{TINY}")["settings"]
    assert settings["requested"] == {"threads": 1}


def test_the_replies_to_load_and_unload_are_those_of_the_reference(server: ServerProcess) -> None:
    body = {"n_gpu_layers": 32, "n_ctx": 2048, "n_batch": 512, "threads": 1}
    loaded = server.post(f"/api/v2/models/{TINY}/load", body | {"f16_kv": True})
    assert loaded["status"] == "success"
    assert loaded["memory_used"].endswith(("MB", "GB"))
    assert float(loaded["memory_used"][:-2]) > 0
    effective = loaded["settings"]["effective"]
    assert (effective["n_ctx"], effective["n_batch"], effective["threads"]) == (2048, 512, 1)
    assert TINY in server.get("/api/v2/models")["loaded_models"]
    assert server.post(f"/api/v2/models/{TINY}/unload")["status"] == "success"
    assert server.get("/api/v2/models")["loaded_models"] == {}
    refused, document = server.request("POST", f"/api/v2/models/{TINY}/unload")
    assert (refused, document["error"]["code"]) == (409, "model_not_loaded")


def test_with_ignore_eos_an_answer_has_exactly_n_predict_tokens(server: ServerProcess) -> None:
    body = {"messages": _FRANCE, "temperature": 0, "n_predict": 40, "ignore_eos": True}
    answer = server.post(_CHAT, body)
    assert answer["usage"]["completion_tokens"] == 40
    assert answer["choices"][0]["finish_reason"] == "length"


def test_an_answer_ends_before_its_stop_string(server: ServerProcess) -> None:
    answer = server.post(_CHAT, {"messages": _FRANCE, "temperature": 0, "stop": [" Paris"]})
    assert answer["choices"][0]["message"]["content"] == "The capital of France is"
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_openai_endpoint_returns_the_same_text_and_usage(server: ServerProcess) -> None:
    body = {"model": TINY, "messages": _FRANCE, "temperature": 0}
    plain = server.post("/v1/chat/completions", body)
    assert plain["choices"][0]["message"]["content"] == _PARIS
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    with server.open("/v1/chat/completions", streamed) as response:
        *chunks, done = all_events(response)
    assert done == "[DONE]"
    *content, usage = chunks
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in content]
    assert "".join(deltas) == _PARIS
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]


def test_many_chats_at_once_each_get_their_own_answer(server: ServerProcess) -> None:
    body = {"messages": _FRANCE, "temperature": 0}
    with (
        server.open(f"{_CHAT}/stream", body) as first,
        server.open(f"{_CHAT}/stream", {"messages": _STORY, "temperature": 0}) as second,
        server.open(f"{_CHAT}/stream", body) as third,
    ):
        texts = [
            "".join(event["choices"][0]["delta"]["content"] for event in all_events(stream)[:-1])
            for stream in (first, second, third)
        ]
    assert texts[0] == texts[2] == _PARIS
    assert texts[1].startswith("Once upon a time")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v2/chat/nothing.gguf", {"messages": _STORY}, 404),
        ("/api/v2/chat/..%2f..%2fetc%2fpasswd", {"messages": _STORY}, 404),
        ("/api/v2/models/nothing.gguf/load", {}, 404),
        (_CHAT, b"{", 400),
        (_CHAT, {"messages": "hi"}, 400),
        (_CHAT, {"messages": _STORY, "temperature": 3}, 400),
        (f"{_CHAT}/stream", {"messages": _STORY, "top_p": "x"}, 400),
        (f"/api/v2/models/{TINY}/load", {"n_ctx": "big"}, 400),
        ("/v1/chat/completions", {"messages": _STORY}, 400),
        ("/v1/chat/completions", {"model": "nothing", "messages": _STORY}, 404),
        (_CHAT, {"messages": [{"role": "user", "content": "word " * 20_000}]}, 400),
        (_CHAT, {"messages": _STORY, "grammar": "root ::= ("}, 400),
        ("/api/v2/nothing", {}, 404),
    ],
)
def test_client_mistakes_are_4xx_json_without_a_traceback(
    server: ServerProcess, path: str, body: object, status: int
) -> None:
    seen, document = server.request("POST", path, body)
    assert seen == status, document
    assert document["error"]["message"]
    assert "Traceback" not in document["error"]["message"]


def test_the_server_process_never_loads_native_code(server: ServerProcess) -> None:
    server.post(_CHAT, {"messages": _FRANCE, "n_predict": 1})
    assert "libllama" in _mapped_files(server.engine()["pid"])
    assert "libllama" not in _mapped_files(server.process.pid)


def _mapped_files(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_the_references_load_example_warns_of_what_it_could_not_apply(
    server: ServerProcess,
) -> None:
    body = {"n_gpu_layers": 32, "n_ctx": 2048, "n_batch": 512, "threads": 512}
    loaded = server.post(f"/api/v2/models/{TINY}/load", body)
    n_cpus = loaded["settings"]["effective"]["threads"]
    assert n_cpus < 512
    assert f"threads: 512 is more than this machine's {n_cpus} CPUs" in loaded["warnings"][0]
    server.post(f"/api/v2/models/{TINY}/load", {"threads": 1})


def test_engine_settings_of_a_load_are_applied(server: ServerProcess) -> None:
    settings = {"n_parallel": 2, "kv_unified": False, "n_ctx": 2048, "threads": 1}
    loaded = server.post(f"/api/v2/models/{TINY}/load", settings)["settings"]
    assert loaded["requested"] == settings
    assert loaded["effective"]["n_parallel"] == 2
    assert loaded["effective"]["n_ctx_seq"] == 1024, "each of two sequences has half of the context"
    answer = server.post(_CHAT, {"messages": _FRANCE, "temperature": 0})
    assert answer["choices"][0]["message"]["content"] == _PARIS
    status, refused = server.request("POST", f"/api/v2/models/{TINY}/load", {"cache_type_k": "f12"})
    assert status == 400
    assert refused["error"]["param"] == "cache_type_k"
    server.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
