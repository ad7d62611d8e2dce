"""Every setting of a load is a flag of `llamabind load`, by its name in the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.command.client.errors import UsageError
from server.command.flags.tables import load_body, sampling_fields
from server.command.main import load_command
from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults


def _body(*words: str) -> dict[str, Any]:
    _, parser = load_command("load")
    return load_body(parser.parse_args(["m", *words]))


def _adapter(name: str) -> dict[str, Any]:
    return {"path": name, "id": None, "scale": 1.0}


def test_every_setting_is_a_flag_by_its_own_name():
    """`sampling` has its fields as flags, of which min_keep is none of the server either."""
    _, parser = load_command("load")
    flags = set(parser._option_string_actions)
    names = {*LoadSettings.__struct_fields__, *SamplingDefaults.__struct_fields__} - {
        "sampling",
        "min_keep",
    }
    assert {name for name in names if f"--{name.replace('_', '-')}" not in flags} == set()


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("", {}),
        ("-c 8192 -np 4 -ngl all", {"n_ctx": 8192, "n_parallel": 4, "n_gpu_layers": -1}),
        ("--n-ctx 8192 --n-parallel 4 --n-gpu-layers 3",
         {"n_ctx": 8192, "n_parallel": 4, "n_gpu_layers": 3}),
        ("--no-kv-unified --no-mmap", {"kv_unified": False, "load_mode": "none"}),
        ("-fa --mlock --pinned --ttl -1",
         {"flash_attn": "on", "use_mlock": True, "pinned": True, "ttl": -1}),
        ("--no-f16-kv", {"f16_kv": False}),
        ("--embedding --pooling mean", {"embedding": True, "pooling": "mean"}),
        ("--temp 0.2 --stop END --ignore-eos",
         {"sampling": {"temperature": 0.2, "stop": ["END"], "ignore_eos": True}}),
        # Names of files on the server, also where this machine has such a file.
        ("--mmproj README.md --lora a.gguf,b.gguf",
         {"mmproj": "README.md", "lora": [_adapter("a.gguf"), _adapter("b.gguf")]}),
        ("--lora-scaled a.gguf:0.5", {"lora": [{"path": "a.gguf", "id": None, "scale": 0.5}]}),
        ("-ts 3,1 -ot ffn_.*=CPU --override-kv a=int:1",
         {"tensor_split": [3.0, 1.0], "override_tensor": ["ffn_.*=CPU"], "override_kv": {"a": 1}}),
    ],
)  # fmt: skip
def test_flags_make_the_body_of_a_load(words: str, body: dict[str, Any]):
    assert json.loads(json.dumps(_body(*words.split()))) == body


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--n-ctx -5", "argument -c/--ctx-size: expected `int` >= 0"),
        ("--pooling mean --no-embedding", "argument --pooling: requires embedding: true"),
        ("--top-p 7", "argument --top-p: "),
    ],
)
def test_a_wrong_setting_is_refused_before_it_is_sent(words: str, message: str):
    with pytest.raises(UsageError) as refused:
        _body(*words.split())
    assert str(refused.value).startswith(message)


def test_the_servers_variables_are_not_read(monkeypatch):
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "8192")
    assert _body() == {}


def test_sampling_flags_are_fields_of_a_request():
    _, parser = load_command("run")
    words = ["m", "--temp", "0", "-n", "5", "--samplers", "top_k;temperature", "-r", "END"]
    assert sampling_fields(parser.parse_args(words)) == {
        "temperature": 0.0,
        "n_predict": 5,
        "samplers": ["top_k", "temperature"],
        "stop": ["END"],
    }
