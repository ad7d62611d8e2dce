"""plan_load: converts the settings of a load to llamabind's parameters."""

from typing import Any

import pytest

from llamabind import EmbeddingConfig, EngineConfig, RopeConfig
from llamabind.checks import INT32_MAX
from llamabind.context.memory_report import DeviceMemoryUse, HostMemoryUse, MemoryReport
from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import LoadFiles
from server.worker.loading.device_memory import fit_margins
from server.worker.loading.plan import LoadPlan, Machine, plan_load, size_warnings
from tests.support.gguf_files import write_gguf

LAPTOP = Machine(n_cpus=4, n_gpus=0)
TWO_GPUS = Machine(n_cpus=4, n_gpus=2)


@pytest.fixture
def model(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    return str(tmp_path / "m.gguf")


def _plan(model, machine=LAPTOP, files=None, **settings) -> LoadPlan:
    return plan_load(model, LoadSettings(**settings), files or LoadFiles(), machine)


def test_without_settings_the_engines_defaults_apply(model):
    plan = _plan(model)
    assert plan.config == EngineConfig()
    assert plan.model_params.load_mode == "auto"
    assert plan.warnings == ()


@pytest.mark.parametrize("cache_ram", [None, -1, 100])
def test_with_remote_devices_no_states_are_saved(model, cache_ram):
    machine = Machine(n_cpus=4, n_gpus=1, has_remote=True)
    plan = _plan(model, machine, cache_ram=cache_ram)
    assert getattr(plan.config, "cache_ram_mib", None) == 0
    assert [warning.split(":")[0] for warning in plan.warnings] == ["cache_ram"]
    assert _plan(model, machine, cache_ram=0).warnings == ()
    assert _plan(model, machine, embedding=True).warnings == ()


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"n_ctx": 512}, "n_ctx", 512),
        ({"n_batch": 64}, "n_batch", 64),
        ({"n_ubatch": 32}, "n_ubatch", 32),
        ({"n_parallel": 3}, "n_parallel", 3),
        ({"threads": 2}, "n_threads", 2),
        ({"threads": 0}, "n_threads", None),
        ({"threads_batch": -1}, "n_threads_batch", None),
        ({"threads": 99}, "n_threads", 4),
        ({"f16_kv": False}, "type_v", "f32"),
        ({"f16_kv": True}, "type_k", "f16"),
        ({"cache_type_k": "q8_0"}, "type_k", "q8_0"),
        ({"flash_attn": "on"}, "flash_attn", "on"),
        ({"kv_unified": False}, "kv_unified", False),
        ({"swa_full": True}, "swa_full", True),
        ({"deterministic": True}, "deterministic", True),
        ({"cache_ram": 0}, "cache_ram_mib", 0),
        ({"cache_ram": -1}, "cache_ram_mib", INT32_MAX),
        ({"rope_scaling": "yarn"}, "rope", RopeConfig(rope_scaling="yarn")),
        ({"rope_freq_base": 5e5}, "rope", RopeConfig(rope_freq_base=5e5)),
        ({"speculative": "ngram"}, "speculative", "ngram"),
        ({"speculative": "ngram", "draft_max": 7}, "draft_max", 7),
        ({"speculative": "ngram", "ngram_size": 3}, "ngram_size", 3),
    ],
)
def test_every_setting_reaches_the_engine(model, settings, field, value):
    assert getattr(_plan(model, **settings).config, field) == value


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"n_gpu_layers": 5}, "n_gpu_layers", 5),
        ({"n_gpu_layers": -1}, "n_gpu_layers", -1),
        ({"split_mode": "row"}, "split_mode", "row"),
        ({"main_gpu": 1}, "main_gpu", 1),
        ({"tensor_split": (3.0, 1.0)}, "tensor_split", (3.0, 1.0)),
        ({"use_mlock": True}, "load_mode", "mmap+mlock"),
    ],
)
def test_every_setting_reaches_the_model(model, settings, field, value):
    plan = _plan(model, TWO_GPUS, **settings)
    assert getattr(plan.model_params, field) == value
    assert plan.warnings == ()


@pytest.mark.parametrize("is_embedding", [False, True])
def test_deterministic_keeps_weights_as_in_the_file(model, is_embedding):
    plan = _plan(model, deterministic=True, embedding=is_embedding)
    assert plan.model_params.use_extra_bufts is False
    assert plan.config.deterministic
    assert plan.warnings == ()
    assert _plan(model).model_params.use_extra_bufts is None


def test_deterministic_has_a_warning_where_gpus_compute(model):
    (warning,) = _plan(model, TWO_GPUS, deterministic=True).warnings
    assert warning.startswith("deterministic: has no effect on what GPUs compute")
    assert _plan(model, TWO_GPUS, deterministic=True, devices=("none",)).warnings == ()


def test_the_draft_model_is_the_resolved_file(model):
    plan = _plan(model, files=LoadFiles(draft_model="/models/d.gguf"), draft_model="d.gguf")
    assert isinstance(plan.config, EngineConfig)
    assert plan.config.draft_model == "/models/d.gguf"
    assert plan.config.speculation == "draft"


def test_a_load_for_embeddings_has_an_embedding_config(model):
    plan = _plan(model, embedding=True, pooling="cls", n_ubatch=64, threads=2)
    assert plan.config == EmbeddingConfig(pooling="cls", n_ubatch=64, n_threads=2)


@pytest.mark.parametrize(
    ("settings", "machine", "field"),
    [
        ({"main_gpu": 2}, TWO_GPUS, "main_gpu"),
        ({"main_gpu": 1}, LAPTOP, "main_gpu"),
        ({"tensor_split": (1.0, 1.0, 1.0)}, TWO_GPUS, "tensor_split"),
        ({"tensor_split": (1.0,)}, LAPTOP, "tensor_split"),
    ],
)
def test_devices_that_do_not_exist_are_refused(model, settings, machine, field):
    with pytest.raises(InvalidParameterError) as caught:
        _plan(model, machine, **settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({"threads": 5}, "threads: 5 is more than this machine's 4 CPUs"),
        ({"n_gpu_layers": 1}, "n_gpu_layers: there is no GPU"),
        ({"split_mode": "row"}, "split_mode: there is no GPU"),
        ({"n_batch": 64, "n_ubatch": 65}, "n_ubatch: 65 is more than n_batch, 64 is used"),
        ({"deterministic": True, "flash_attn": "off"}, "deterministic: attention depends"),
        ({"deterministic": True, "cache_type_k": "q8_0"}, "deterministic: attention depends"),
        ({"draft_max": 4}, "draft_max: not used with speculative off"),
        (
            {"speculative": "ngram", "draft_p_min": 0.5},
            "draft_p_min: not used with speculative ngram",
        ),
        ({"draft_model": "d.gguf", "ngram_size": 2}, "ngram_size: not used with speculative draft"),
        ({"n_ctx": 1 << 20}, "n_ctx: 1048576 is more than"),
        ({"n_ctx": 1 << 20, "embedding": True}, "n_ctx: embeddings use at most the 2048 tokens"),
    ],
)
def test_settings_that_will_not_apply_as_requested_have_a_warning(model, settings, beginning):
    (warning,) = _plan(model, **settings).warnings
    assert warning.startswith(beginning)


def test_sizes_that_differ_from_the_requested_have_a_warning():
    requested = LoadSettings(n_ctx=300, n_batch=512, n_parallel=4)
    effective = {"n_ctx": 512, "n_batch": 300, "n_parallel": 4, "n_ubatch": 300}
    assert list(size_warnings(requested, effective)) == [
        "n_ctx: 300 was requested, 512 is used",
        "n_batch: 512 was requested, 300 is used",
    ]


def test_sizes_that_were_not_requested_have_no_warning():
    sizes = {"n_ctx": 2048, "n_batch": 2048, "n_parallel": 16}
    assert list(size_warnings(LoadSettings(n_ctx=0), sizes)) == []
    assert list(size_warnings(LoadSettings(n_ctx=300, embedding=True), sizes)) == []


def test_a_longer_context_with_scaled_positions_has_no_warning(model):
    assert _plan(model, n_ctx=1 << 20, rope_scaling="yarn").warnings == ()


def _report(**used) -> MemoryReport:
    return MemoryReport(
        host=HostMemoryUse(model=0, context=0, compute=0),
        devices=tuple(
            DeviceMemoryUse(name=name, description="", type=kind, model=n, context=0, compute=0)
            for name, (kind, n) in used.items()
        ),
    )


def test_companion_files_and_budgets_leave_less_memory_for_layers(tmp_path):
    adapter = tmp_path / "a.gguf"
    adapter.write_bytes(bytes(1000))
    files = LoadFiles(lora=((str(adapter), 1.0),))
    gib = 1 << 30
    main = _report(BLAS=("accel", 1), CUDA0=("gpu", 5 * gib), CUDA1=("gpu", 5 * gib))
    assert fit_margins(main, None, LoadFiles(), {}, {}) == [gib, gib]
    draft = _report(CUDA1=("gpu", 7), CUDA2=("gpu", 9))
    assert fit_margins(main, draft, files, {}, {}) == [gib + 1000, gib + 7]
    free = {"CUDA0": 20 * gib, "CUDA1": 20 * gib}
    budgets = {"CUDA0": 8 * gib, "CUDA1": 30 * gib}
    assert fit_margins(main, None, files, budgets, free) == [12 * gib + 1000, gib]


def test_load_modes_follow_load_mode_and_use_mlock(model):
    modes: dict[str, dict[str, Any]] = {
        "auto": {},
        "none": {"load_mode": "none"},
        "mlock": {"load_mode": "mlock", "use_mlock": True},
        "mmap+mlock": {"use_mlock": True, "load_mode": "auto"},
        "mmap": {"load_mode": "mmap", "use_mlock": False},
    }
    for mode, settings in modes.items():
        assert _plan(model, **settings).model_params.load_mode == mode
    with pytest.raises(InvalidParameterError):
        LoadSettings(load_mode="none", use_mlock=True)
    with pytest.raises(InvalidParameterError):
        LoadSettings(load_mode="mlock", use_mlock=False)
