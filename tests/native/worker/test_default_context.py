"""The context that a load gets without n_ctx, with real estimates and made-up free memory."""

from pathlib import Path

import msgspec
import pytest

from server.protocol.load_settings import LoadSettings
from server.protocol.loading import DeviceMemory, Estimate, HostBudget
from server.worker.loading import estimate
from server.worker.loading.device_memory import device_memory
from server.worker.loading.estimate import settle
from tests.support.random_gguf import LlamaShape, write_random_llama

pytestmark = pytest.mark.native

_TRAINED = 65_536
_MIB = 1 << 20
# Two layers, keys and values of 64 numbers in f16.
_CELL_BYTES = 2 * 2 * 64 * 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path) -> Path:
    path = tmp_path_factory.mktemp("contexts") / "long.gguf"
    shape = LlamaShape(n_embd=128, n_ctx_train=_TRAINED)
    return write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf", shape)


def _settled(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside_weights: int,
    host_budget: HostBudget | None = None,
) -> tuple[int, DeviceMemory]:
    """The context and the host's memory where so many bytes are free beside the weights."""

    def with_free_memory(*arguments):
        host, *others = device_memory(*arguments)
        free = host.model_bytes + beside_weights
        return (msgspec.structs.replace(host, free_bytes=free), *others)

    monkeypatch.setattr(estimate, "device_memory", with_free_memory)
    message = Estimate(str(model), LoadSettings(), host_budget=host_budget or HostBudget())
    settled = settle(message)
    return settled.estimate.n_ctx, settled.devices[0]


def test_the_training_context_is_taken_where_memory_allows(model, monkeypatch):
    n_ctx, _ = _settled(model, monkeypatch, 4096 * _MIB)
    assert n_ctx == _TRAINED


def test_otherwise_cache_and_buffers_take_half_of_what_is_free(model, monkeypatch):
    _, whole = _settled(model, monkeypatch, 4096 * _MIB)
    beside = 2 * (whole.context_bytes + whole.compute_bytes - 10 * _MIB)
    n_ctx, host = _settled(model, monkeypatch, beside)
    used = host.context_bytes + host.compute_bytes
    assert beside / 2 - 2 * _MIB < used <= beside / 2
    assert abs(n_ctx - (_TRAINED - 10 * _MIB // _CELL_BYTES)) < 4096


def test_a_budget_of_all_models_limits_the_context(model, monkeypatch):
    n_ctx, host = _settled(model, monkeypatch, 4096 * _MIB)
    host_budget = HostBudget(limit=host.model_bytes + host.context_bytes + host.compute_bytes)
    limited, _ = _settled(model, monkeypatch, 4096 * _MIB, host_budget)
    assert 8192 <= limited < n_ctx


def test_the_floor_is_8192_tokens_and_4096_where_they_do_not_fit(model, monkeypatch):
    n_ctx, host = _settled(model, monkeypatch, 0)
    assert n_ctx == 4096
    _, floor = _settled(model, monkeypatch, host.context_bytes + host.compute_bytes + 8 * _MIB)
    assert floor.context_bytes == 8192 * _CELL_BYTES


def test_a_given_context_is_not_changed(model):
    assert settle(Estimate(str(model), LoadSettings(n_ctx=512))).estimate.n_ctx == 512
