"""LoadSettings: which settings are refused, and the field that the error names."""

import msgspec
import pytest

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.load_values import LoraChoice


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"f16_kv": True, "cache_type_k": "q8_0"}, "cache_type_k"),
        ({"f16_kv": False, "cache_type_v": "f16"}, "cache_type_v"),
        ({"flash_attn": "off", "cache_type_v": "q8_0"}, "cache_type_v"),
        ({"deterministic": True, "repack": True}, "repack"),
        ({"tensor_split": (0.0, 0.0)}, "tensor_split"),
        ({"tensor_split": (1.0, 1.0), "split_mode": "none"}, "tensor_split"),
        ({"split_mode": "tensor", "flash_attn": "off"}, "split_mode"),
        ({"chat_template": "{{ messages }}\0"}, "chat_template"),
        ({"chat_template": "not a template"}, "chat_template"),
        ({"speculative": "ngram", "draft_model": "small.gguf"}, "draft_model"),
        ({"draft_max": 4, "draft_min": 5}, "draft_min"),
        ({"embedding": False, "pooling": "mean"}, "pooling"),
        ({"embedding": True, "mmproj": "mmproj.gguf"}, "mmproj"),
        ({"embedding": True, "chat_template": "chatml"}, "chat_template"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(settings, field):
    with pytest.raises(InvalidParameterError) as caught:
        LoadSettings(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "settings",
    [
        {"f16_kv": True, "cache_type_k": "f16"},
        {"f16_kv": False, "cache_type_v": "f32"},
        {"flash_attn": "off", "cache_type_k": "q8_0", "cache_type_v": "bf16"},
        {"chat_template": "chatml"},
        {"speculative": "draft", "draft_model": "small.gguf", "draft_max": 2},
        {"embedding": True, "pooling": "rank"},
    ],
)
def test_consistent_settings_are_accepted(settings):
    assert msgspec.to_builtins(LoadSettings(**settings)) == settings


@pytest.mark.parametrize(
    "body",
    [
        '{"n_ctx": -1}',
        '{"n_parallel": 257}',
        '{"main_gpu": 16}',
        '{"tensor_split": [-1]}',
        '{"rope_freq_base": 0}',
        '{"lora": [{"path": "a", "size": 3}]}',
        '{"lora": [{"path": "a", "id": "a"}]}',
        '{"lora": [{"scale": 1}]}',
        '{"chat_template": ""}',
        '{"cache_ram": -2}',
        '{"ttl": -2}',
        '{"pinned": 1}',
    ],
)
def test_values_out_of_range_are_refused(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=LoadSettings)


def test_an_adapter_is_named_by_path_or_id():
    assert LoraChoice(path="a.gguf").file == "a.gguf"
    assert LoraChoice(id="b.gguf", scale=0.5).file == "b.gguf"


def test_ttl_and_pinned_do_not_affect_the_engine():
    settings = LoadSettings(n_ctx=512, ttl=60.0, pinned=True)
    assert settings.engine == LoadSettings(n_ctx=512)
    assert hash(settings) != hash(settings.engine)
