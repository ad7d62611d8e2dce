"""plan_load: from a client's words to llamabind's parameters."""

import pytest

from llamabind import EmbeddingConfig, EngineConfig, RopeConfig
from llamabind.checks import INT32_MAX
from llamabind.context.memory_report import DeviceMemoryUse, MemoryReport, MemoryUse
from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.messages import LoadFiles
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


def test_nothing_asked_for_is_the_engines_default(model):
    plan = _plan(model)
    assert plan.config == EngineConfig()
    assert plan.model_params.load_mode == "auto"
    assert plan.warnings == ()


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


def test_a_draft_model_is_the_file_that_was_found(model):
    plan = _plan(model, files=LoadFiles(draft_model="/models/d.gguf"), draft_model="d.gguf")
    assert plan.config.draft_model == "/models/d.gguf"
    assert plan.config.speculation == "draft"


def test_an_embedding_model_has_a_config_of_its_own(model):
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
def test_devices_that_are_not_there_are_refused(model, settings, machine, field):
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
        ({"draft_max": 4}, "draft_max: speculative is off"),
        ({"speculative": "ngram", "draft_p_min": 0.5}, "draft_p_min: speculative is ngram"),
        ({"draft_model": "d.gguf", "ngram_size": 2}, "ngram_size: speculative is draft"),
        ({"n_ctx": 1 << 20}, "n_ctx: 1048576 is more than"),
        ({"n_ctx": 1 << 20, "embedding": True}, "n_ctx: the model was trained with"),
    ],
)
def test_what_will_not_be_as_asked_is_told(model, settings, beginning):
    (warning,) = _plan(model, **settings).warnings
    assert warning.startswith(beginning)


def test_sizes_that_are_not_as_asked_are_told():
    asked = LoadSettings(n_ctx=300, n_batch=512, n_parallel=4)
    effective = {"n_ctx": 512, "n_batch": 300, "n_parallel": 4, "n_ubatch": 300}
    assert list(size_warnings(asked, effective)) == [
        "n_ctx: 300 was asked for, 512 is used",
        "n_batch: 512 was asked for, 300 is used",
    ]


def test_sizes_nobody_asked_for_need_no_warning():
    sizes = {"n_ctx": 2048, "n_batch": 2048, "n_parallel": 16}
    assert list(size_warnings(LoadSettings(n_ctx=0), sizes)) == []
    assert list(size_warnings(LoadSettings(n_ctx=300, embedding=True), sizes)) == []


def test_a_longer_context_with_scaled_positions_needs_no_warning(model):
    assert _plan(model, n_ctx=1 << 20, rope_scaling="yarn").warnings == ()


def _report(**used) -> MemoryReport:
    return MemoryReport(
        host=MemoryUse(model=0, context=0, compute=0),
        devices=tuple(
            DeviceMemoryUse(name=name, description="", type=kind, model=n, context=0, compute=0)
            for name, (kind, n) in used.items()
        ),
    )


def test_what_comes_beside_a_model_and_a_budget_leave_less_for_its_layers(tmp_path):
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


def test_how_weights_come_into_memory(model):
    asked = {
        "auto": {},
        "none": {"load_mode": "none"},
        "mlock": {"load_mode": "mlock", "use_mlock": True},
        "mmap+mlock": {"use_mlock": True, "load_mode": "auto"},
        "mmap": {"load_mode": "mmap", "use_mlock": False},
    }
    for mode, settings in asked.items():
        assert _plan(model, **settings).model_params.load_mode == mode
    with pytest.raises(InvalidParameterError):
        LoadSettings(load_mode="none", use_mlock=True)
    with pytest.raises(InvalidParameterError):
        LoadSettings(load_mode="mlock", use_mlock=False)
