"""Loading over HTTP: requested and effective settings, memory, estimates, refusals."""

import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.protocol.load_settings import LoadSettings
from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e
_BUNDLED = ROOT / "llamabind" / "models" / TINY
LOAD = f"/api/v2/models/{TINY}/load"
ESTIMATE = f"/api/v2/models/{TINY}/estimate"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as server:
        yield server


def test_the_reply_has_the_references_fields_and_every_effective_setting(server):
    asked = {
        "n_gpu_layers": 32,
        "n_ctx": 1024,
        "n_batch": 512,
        "threads": 1,
        "use_mlock": False,
        "f16_kv": True,
    }
    reply = server.post(LOAD, asked)
    assert reply["status"] == "success"
    assert reply["message"] == "Model loaded successfully"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reply["load_time"])
    assert re.fullmatch(r"\d+\.\d[MG]B", reply["memory_used"])
    assert reply["settings"]["requested"] == asked
    effective = reply["settings"]["effective"]
    assert effective["n_ctx"] == effective["n_ctx_seq"] == 1024
    assert effective["n_batch"] == 512
    assert effective["threads"] == 1
    assert effective["cache_type_k"] == effective["cache_type_v"] == "f16"
    assert effective["kv_unified"] is True
    assert effective["layout"] == "unified"
    assert effective["speculative"] == "off"
    assert effective["lora"] == []
    assert set(LoadSettings.__struct_fields__) <= set(effective)


def test_memory_is_reported_for_each_device_and_adds_up_to_memory_used(server):
    reply = server.post(LOAD, {"n_ctx": 2048})
    host = reply["memory"][0]
    assert host["kind"] == "host"
    assert host["model_bytes"] > 1 << 20
    assert host["context_bytes"] == 4 << 20
    parts = (host["model_bytes"], host["context_bytes"], host["compute_bytes"])
    assert host["used_bytes"] == sum(parts)
    total = sum(device["used_bytes"] for device in reply["memory"])
    assert reply["memory_used"] == f"{total / (1 << 20):.1f}MB"
    detail = server.get(f"/api/v2/models/{TINY}")
    assert detail["memory"][0]["used_bytes"] == host["used_bytes"]
    assert detail["settings"]["effective"] == reply["settings"]["effective"]


def test_an_estimate_equals_the_memory_of_the_load(server):
    settings = {"n_ctx": 1536, "cache_type_k": "f32", "n_parallel": 3}
    estimate = server.post(ESTIMATE, settings)
    assert estimate["fits"] is True
    assert estimate["settings"]["effective"]["n_ctx"] == 1536
    loaded = server.post(LOAD, settings)
    assert loaded["memory_used"] == estimate["memory_needed"]
    # It is known by now, so this answer starts no process.
    assert server.post(ESTIMATE, settings)["memory_needed"] == estimate["memory_needed"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"n_ctx": -1}, "n_ctx"),
        ({"n_parallel": 1000}, "n_parallel"),
        ({"cache_type_k": "q9"}, "cache_type_k"),
        ({"flash_attn": "off", "cache_type_v": "q8_0"}, "cache_type_v"),
        ({"f16_kv": False, "cache_type_k": "f16"}, "cache_type_k"),
        ({"main_gpu": 9}, "main_gpu"),
        ({"tensor_split": [1] * 16}, "tensor_split"),
        ({"lora": [{"path": "../../secret.gguf"}]}, "lora[0]"),
        ({"lora": [{"path": "/etc/passwd"}]}, "lora[0]"),
        ({"draft_model": "missing.gguf"}, "draft_model"),
        ({"mmproj": TINY}, "mmproj"),
        ({"chat_template": "{{ a }}\0"}, "chat_template"),
        ({"chat_template": "{% if %}"}, "chat_template"),
        ({"pooling": "mean"}, "pooling"),
    ],
)
def test_a_wrong_setting_is_a_400_that_names_it(server, settings, field):
    status, document = server.request("POST", LOAD, settings)
    assert status == 400, document
    assert document["error"]["param"] == field, document


def test_a_failed_allocation_is_a_507_and_the_server_keeps_running(server):
    huge = {"n_ctx": 16_777_216, "cache_type_k": "f32", "n_parallel": 256, "kv_unified": False}
    status, document = server.request("POST", LOAD, huge | {"cache_type_v": "f32"})
    assert status in (400, 507), document
    assert document["error"]["reason"] == "out_of_memory"
    assert server.post(LOAD, {"n_ctx": 512})["settings"]["effective"]["n_ctx"] == 512


def test_an_embedding_model_refuses_to_chat(server):
    reply = server.post(LOAD, {"embedding": True, "pooling": "mean"})
    assert reply["settings"]["effective"]["embedding"] is True
    assert reply["settings"]["effective"]["pooling"] == "mean"
    body = {"messages": [{"role": "user", "content": "hello"}]}
    status, document = server.request("POST", f"/api/v2/chat/{TINY}", body)
    assert status == 400
    assert "embeddings" in document["error"]["message"]


def test_a_context_larger_than_trained_with_is_a_warning(server):
    reply = server.post(LOAD, {"n_ctx": 4096})
    assert reply["settings"]["effective"]["n_ctx"] == 4096
    assert any(warning.startswith("n_ctx: 4096 is more") for warning in reply["warnings"])


def test_n_ctx_zero_means_the_models_own_context(server):
    assert server.post(LOAD, {"n_ctx": 0})["settings"]["effective"]["n_ctx"] == 2048


def test_a_given_chat_template_is_used(server):
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    reply = server.post(LOAD, {"chat_template": template})
    assert reply["settings"]["effective"]["chat_template"] == "request"
    body = {"messages": [{"role": "user", "content": "a b"}], "n_predict": 1}
    few = server.post(f"/api/v2/chat/{TINY}", body)["usage"]["prompt_tokens"]
    server.post(LOAD, {})
    assert few < server.post(f"/api/v2/chat/{TINY}", body)["usage"]["prompt_tokens"]


def test_a_draft_model_is_found_by_id(server):
    status, document = server.request("POST", ESTIMATE, {"draft_model": TINY})
    assert status == 200, document
    alone = server.post(ESTIMATE, {})["memory"][0]["model_bytes"]
    assert document["memory"][0]["model_bytes"] == 2 * alone


@pytest.mark.parametrize("n", [0, 1, 2**31 - 1, 2**32 - 1])
def test_an_absurd_training_context_loads_or_fails_with_a_reason(tmp_path: Path, n: int) -> None:
    content = _BUNDLED.read_bytes()
    key = content.index(b".context_length") + len(b".context_length")
    # An entry is its key, the type of its value (4 for u32) and the value.
    assert content[key : key + 4] == struct.pack("<I", 4)
    absurd = content[: key + 4] + struct.pack("<I", n) + content[key + 8 :]
    (tmp_path / "absurd.gguf").write_bytes(absurd)
    with ServerProcess(tmp_path) as server:
        for settings in ({}, {"n_ctx": 0}):
            status, document = server.request("POST", "/api/v2/models/absurd.gguf/load", settings)
            assert status in (200, 400, 507), document
            assert status == 200 or document["error"]["reason"]
        body = {"messages": [{"role": "user", "content": "hello"}], "n_predict": 1}
        assert server.post(f"/api/v2/chat/{TINY}", body)["choices"]


def test_a_rounded_context_is_reported_by_the_estimate_and_the_load(server):
    asked = {"n_ctx": 300, "n_batch": 64}
    sentence = "n_ctx: 300 was requested, 512 is used"
    assert server.post(ESTIMATE, asked)["warnings"] == [sentence]
    reply = server.post(LOAD, asked)
    assert reply["warnings"] == [sentence]
    assert reply["settings"]["effective"]["n_ctx"] == 512


def test_the_effective_speculation_is_reported(server):
    effective = server.post(LOAD, {"speculative": "ngram", "draft_max": 3})["settings"]["effective"]
    assert (effective["speculative"], effective["draft_max"]) == ("ngram", 3)
    assert server.post(LOAD, {})["settings"]["effective"]["speculative"] == "off"


def test_a_split_mode_without_a_gpu_is_a_warning(server):
    status, document = server.request("POST", ESTIMATE, {"split_mode": "tensor"})
    assert status == 200, document


def test_a_draft_model_given_by_a_flag_may_be_outside_the_models_directory(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draft = tmp_path_factory.mktemp("elsewhere") / "draft.gguf"
    shutil.copy(_BUNDLED, draft)
    with ServerProcess(tmp_path, "--model-draft", str(draft), "--spec-draft-n-max", "4") as server:
        settings = server.post(LOAD, {})["settings"]
        assert settings["effective"]["speculative"] == "draft"
        assert settings["effective"]["draft_model"] == "draft.gguf"
        assert settings["effective"]["draft_max"] == 4
        assert str(draft.parent) not in str(settings)
        body = {"messages": [{"role": "user", "content": "hello"}], "n_predict": 8}
        assert server.post(f"/api/v2/chat/{TINY}", body)["choices"]
