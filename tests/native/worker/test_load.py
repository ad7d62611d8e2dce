"""Loads as in the worker: effective settings, and estimates that equal the memory used."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
from make_random_model import random_model

from llamabind import estimate_memory, load_engine
from llamabind.context.params import KV_CACHE_TYPES
from llamabind.errors import (
    AdapterError,
    ChatTemplateError,
    ContextCreateError,
    InvalidParameterError,
    ModelLoadError,
    ProjectorError,
)
from server.protocol.job import Job, TextPrompt
from server.protocol.load_settings import LoadSettings
from server.protocol.load_values import LoadMode, LoraChoice
from server.protocol.loading import Estimate, Estimated, Load, LoadedModel, LoadFiles
from server.worker.engines.engine_interface import EngineEvents
from server.worker.loading import estimate
from server.worker.loading.begin import load_worker_engine
from server.worker.loading.estimate import settle
from server.worker.loading.known_plan import plan_known, require_memory
from tests.support.engine_runs import make_request, run, tokens_of
from tests.support.paths import ROOT
from tests.support.random_architectures import write_random_architecture
from tests.support.random_gguf import LlamaShape, write_random_llama, write_random_lora
from tests.support.random_heads import write_model_with_head

pytestmark = pytest.mark.native
BUNDLED = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
# Heads of 32, as quantised caches need.
SHAPE = LlamaShape(n_embd=128)


@pytest.fixture(scope="module")
def model(tmp_path_factory, vocab_dir) -> Path:
    path = tmp_path_factory.mktemp("loads") / "random.gguf"
    return write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf", SHAPE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return write_random_lora(tmp_path_factory.mktemp("adapters") / "lora.gguf", SHAPE)


def _load(path: Path, files: LoadFiles | None = None, **settings) -> LoadedModel:
    settings.setdefault("threads", 1)
    events = EngineEvents(lambda _: None, lambda _: None, lambda _: None)
    load = Load(str(path), LoadSettings(**settings), files or LoadFiles())
    engine = load_worker_engine(load, events)
    engine.close()
    return engine.describe()


@pytest.mark.parametrize("cache_type", KV_CACHE_TYPES)
def test_every_cache_type_loads_and_takes_what_was_estimated(model, cache_type):
    settings = {"cache_type_k": cache_type, "cache_type_v": cache_type, "n_ctx": 512}
    loaded = _load(model, **settings)
    assert loaded.effective["cache_type_k"] == loaded.effective["cache_type_v"] == cache_type
    estimate = settle(Estimate(str(model), LoadSettings(**settings)))
    assert [device.used_bytes for device in estimate.devices] == [
        device.used_bytes for device in loaded.devices
    ]


def test_a_load_with_the_servers_estimate_is_the_same_and_does_not_make_it_again(
    model, monkeypatch
):
    # By default cache_ram depends on the memory that is free at the moment.
    expected = _load(model, n_ctx=512, cache_ram=64)
    settled = settle(Estimate(str(model), LoadSettings(n_ctx=512)))
    estimated = Estimated(devices=settled.devices, n_ctx=512, n_gpu_layers=0)
    settings = LoadSettings(n_ctx=512, threads=1, cache_ram=64)

    def fail(*_: object) -> None:
        raise AssertionError("estimated again")

    monkeypatch.setattr(estimate, "estimate_memory", fail)
    events = EngineEvents(lambda _: None, lambda _: None, lambda _: None)
    engine = load_worker_engine(Load(str(model), settings, estimated=estimated), events)
    engine.close()
    loaded = engine.describe()
    assert (loaded.n_ctx, loaded.effective) == (expected.n_ctx, expected.effective)
    assert loaded.warnings == expected.warnings


@pytest.mark.parametrize("n_devices", [1, 2])
def test_an_estimate_that_may_not_fit_the_load_is_made_again(model, n_devices):
    settled = settle(Estimate(str(model), LoadSettings(n_ctx=512)))
    devices = settled.devices * n_devices
    wrong = Estimated(devices=devices, n_ctx=64, n_gpu_layers=0)
    settings = LoadSettings() if n_devices == 1 else LoadSettings(n_ctx=512)
    assert plan_known(Load(str(model), settings, estimated=wrong)).n_ctx > 64


def test_an_estimate_reads_the_model_once_for_each_context_size(model, monkeypatch):
    sizes: list[int | None] = []

    def count(path, params, config):
        sizes.append(config.n_ctx)
        return estimate_memory(path, params, config)

    monkeypatch.setattr(estimate, "estimate_memory", count)
    settle(Estimate(str(model), LoadSettings()))
    assert len(sizes) == len(set(sizes)) > 0


def test_a_smaller_cache_type_takes_less(model):
    sizes = {
        kind: _load(model, cache_type_k=kind, cache_type_v=kind, n_ctx=512).devices[0].context_bytes
        for kind in ("f32", "f16", "q8_0", "q4_0")
    }
    assert sizes["f32"] == 2 * sizes["f16"] > sizes["f16"] > sizes["q8_0"] > sizes["q4_0"]


@pytest.mark.parametrize(
    ("settings", "effective"),
    [
        ({"flash_attn": "on"}, "on"),
        ({"flash_attn": "off"}, "off"),
        ({"flash_attn": "auto"}, "on"),
        ({"flash_attn": "auto", "cache_type_v": "q8_0"}, "on"),
    ],
)
def test_the_effective_flash_attention_is_reported(model, settings, effective):
    assert _load(model, n_ctx=256, **settings).effective["flash_attn"] == effective


@pytest.mark.parametrize("mode", ["none", "mmap", "dio"])
def test_weights_are_loaded_in_the_requested_way(model, mode):
    loaded = _load(model, n_ctx=256, load_mode=mode)
    effective, host = loaded.effective, loaded.devices[0]
    assert (effective["load_mode"], effective["use_mlock"]) == (mode, False)
    # Only these are in memory that the system counts as available.
    assert host.mapped_bytes == (host.model_bytes if mode == "mmap" else 0)


def test_locked_weights_are_not_counted_as_mapped(model):
    loaded = _load(model, n_ctx=256, use_mlock=True)
    host = loaded.devices[0]
    is_locked = loaded.effective["use_mlock"]
    assert host.mapped_bytes == (0 if is_locked else host.model_bytes)


def test_weights_that_are_not_mapped_must_fit_into_memory(model):
    modes: tuple[tuple[LoadMode, bool], ...] = (("mmap", False), ("none", True))
    for mode, refused in modes:
        settled = settle(Estimate(str(model), LoadSettings(n_ctx=256, load_mode=mode)))
        host = settled.devices[0]
        little = host.context_bytes + host.compute_bytes + 1
        device = msgspec.structs.replace(host, free_bytes=little)
        with pytest.raises(ModelLoadError) if refused else contextlib.nullcontext():
            require_memory(dataclasses.replace(settled, devices=(device,)))


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_scaling": "linear", "rope_freq_scale": 0.5},
        {"rope_scaling": "yarn", "rope_freq_scale": 0.25, "yarn_orig_ctx": 2048},
        {"rope_freq_base": 500_000.0},
        {"yarn_ext_factor": 1.0, "yarn_attn_factor": 0.9, "yarn_beta_fast": 16.0},
    ],
)
def test_scaled_positions_are_applied(model, settings):
    effective = _load(model, n_ctx=256, **settings).effective
    assert {name: effective[name] for name in settings} == pytest.approx(settings)


def test_a_split_kv_cache_divides_the_context(model):
    effective = _load(model, n_ctx=1024, n_parallel=4, kv_unified=False).effective
    assert (effective["n_ctx"], effective["n_ctx_seq"]) == (1024, 256)
    assert effective["layout"] == "streams"


def test_an_adapter_is_applied_and_counted(model, adapter):
    plain = _load(model, n_ctx=256)
    files = LoadFiles(lora=((str(adapter), 0.5),))
    chosen = (LoraChoice(id="lora.gguf", scale=0.5),)
    loaded = _load(model, files, n_ctx=256, lora=chosen)
    assert loaded.effective["lora"] == [{"file": "lora.gguf", "scale": 0.5}]
    assert loaded.memory_bytes - plain.memory_bytes == adapter.stat().st_size


def test_an_engine_answers_with_its_adapters(model, adapter):
    def answer(**more):
        with load_engine(model, **more) as engine:
            return tokens_of(run(engine, make_request("a", [1, 450, 4996], 16))["a"])

    assert answer() != answer(lora=[(adapter, 1.0)])


def test_a_model_for_embeddings_says_so_and_does_not_chat(model):
    events = EngineEvents(lambda _: None, lambda _: None, lambda _: None)
    settings = LoadSettings(embedding=True, pooling="mean", n_ctx=256, threads=1)
    engine = load_worker_engine(Load(str(model), settings), events)
    try:
        loaded = engine.describe()
        assert loaded.effective["embedding"] is True
        assert loaded.effective["pooling"] == "mean"
        estimate = settle(Estimate(str(model), settings))
        assert estimate.devices[0].used_bytes == loaded.devices[0].used_bytes
        with pytest.raises(InvalidParameterError, match="embeddings"):
            engine.prepare(Job(prompt=TextPrompt(content="a")))
    finally:
        engine.close()


@pytest.mark.parametrize("path", [BUNDLED, None], ids=["bundled", "random-135m"])
def test_the_estimate_is_the_measured_memory(path):
    path = path or random_model("135m")
    estimate = estimate_memory(path)
    with load_engine(path) as engine:
        assert engine.memory.total == pytest.approx(estimate.report.total, rel=0.03)


@pytest.mark.parametrize("weight_type", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("mode", ["mmap", "none"])
def test_repacked_weights_are_counted_once_and_as_large_as_they_become(
    tmp_path, vocab_dir, weight_type, mode
):
    """Their pages in a mapped file are not counted beside them."""
    vocab_file = vocab_dir / "ggml-vocab-llama-spm.gguf"
    path = tmp_path / "model.gguf"
    write_random_architecture(path, vocab_file, "llama", weight_type=weight_type)
    estimated = settle(Estimate(str(path), LoadSettings(n_ctx=256, load_mode=mode, threads=1)))
    loaded = _load(path, n_ctx=256, load_mode=mode)
    assert loaded.devices[0].model_bytes == estimated.devices[0].model_bytes
    assert loaded.devices[0].model_bytes < 1.5 * path.stat().st_size


@pytest.mark.parametrize(
    ("settings", "files", "error"),
    [
        ({"lora": (LoraChoice(id="x.gguf"),)}, {"lora": ((str(BUNDLED), 1.0),)}, AdapterError),
        ({"mmproj": "x.gguf"}, {"mmproj": str(BUNDLED)}, ProjectorError),
        ({"chat_template": "{% if %}"}, {}, ChatTemplateError),
    ],
)
def test_wrong_companions_are_refused(model, settings, files, error):
    with pytest.raises(error):
        _load(model, LoadFiles(**files), n_ctx=256, **settings)


def test_a_cache_type_that_the_heads_do_not_divide_is_a_wrong_setting(random_llama_path):
    with pytest.raises(ContextCreateError, match="does not divide") as caught:
        _load(random_llama_path, cache_type_k="q8_0")
    assert caught.value.reason == "invalid_parameter"


def test_a_context_beyond_all_memory_fails_before_it_is_allocated(model):
    with pytest.raises(ModelLoadError) as caught:
        _load(model, n_ctx=1 << 24, cache_type_k="f32", cache_type_v="f32", n_parallel=256)
    assert caught.value.reason == "out_of_memory"


def test_a_draft_model_is_loaded_and_estimated(model):
    files = LoadFiles(draft_model=str(model))
    settings: dict[str, Any] = {"n_ctx": 512, "draft_model": "d.gguf", "draft_max": 5}
    effective = _load(model, files, **settings).effective
    assert (effective["speculative"], effective["draft_max"]) == ("draft", 5)
    alone = settle(Estimate(str(model), LoadSettings(n_ctx=512)))
    both = settle(Estimate(str(model), LoadSettings(**settings), files))
    assert both.devices[0].model_bytes == 2 * alone.devices[0].model_bytes
    assert both.devices[0].context_bytes == 2 * alone.devices[0].context_bytes


def test_unsupported_speculation_is_turned_off_with_a_warning(tmp_path, vocab_dir):
    path = write_random_architecture(
        tmp_path / "mamba.gguf", vocab_dir / "ggml-vocab-llama-spm.gguf", "mamba"
    )
    loaded = _load(path, n_ctx=256, speculative="ngram")
    assert loaded.effective["speculative"] == "off"
    assert any("speculative decoding is off" in warning for warning in loaded.warnings)


@pytest.mark.parametrize("architecture", ["glm4moe", "qwen35"])
def test_the_draft_heads_of_a_model_are_used_and_estimated(tmp_path, vocab_dir, architecture):
    vocab = vocab_dir / "ggml-vocab-llama-spm.gguf"
    path = write_model_with_head(tmp_path / "heads.gguf", vocab, architecture)
    loaded = _load(path, n_ctx=512, draft_p_min=0.5)
    assert loaded.effective["speculative"] == "mtp"
    assert (loaded.effective["draft_max"], loaded.effective["draft_p_min"]) == (3, 0.5)
    assert not [warning for warning in loaded.warnings if warning.startswith(("draft", "spec"))]
    without = settle(Estimate(str(path), LoadSettings(n_ctx=512, speculative="off"))).devices[0]
    estimated = settle(Estimate(str(path), LoadSettings(n_ctx=512))).devices[0]
    (used,) = loaded.devices
    assert estimated.model_bytes > without.model_bytes
    assert estimated.context_bytes == used.context_bytes > without.context_bytes
    assert estimated.model_bytes == pytest.approx(used.model_bytes, rel=0.01)


def test_mtp_for_a_model_without_heads_names_the_setting(model):
    with pytest.raises(InvalidParameterError, match="no draft heads") as caught:
        settle(Estimate(str(model), LoadSettings(n_ctx=512, speculative="mtp")))
    assert caught.value.field == "speculative"
