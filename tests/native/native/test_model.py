"""Model: metadata and sizes, progress and cancel, and failures with a machine-readable reason."""

import struct
from pathlib import Path

import pytest

from llamabind.errors import InvalidParameterError, LoadCancelledError, ModelLoadError
from llamabind.native import backend
from llamabind.native.load_failure import load_error, shards
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.random_gguf import (
    LlamaShape,
    Value,
    encode_entries,
    encode_entry,
    tokenizer_entries,
    write_gguf,
    write_random_llama,
)

pytestmark = pytest.mark.native

REASONS = (
    "out_of_memory",
    "unsupported_architecture",
    "missing_shard",
    "corrupt_file",
    "unknown",
)


def test_metadata_and_sizes_are_those_of_the_file(random_llama):
    model = random_llama
    assert model.architecture == "llama"
    assert model.metadata["general.name"] == "random"
    assert model.metadata["llama.block_count"] == "2"
    assert (model.n_ctx_train, model.n_embd, model.n_embd_out, model.n_layer) == (2048, 64, 64, 2)
    assert (model.n_head, model.n_head_kv, model.n_vocab, model.n_swa) == (4, 2, 32_000, 0)
    assert model.n_params == 32_000 * 64 * 2 + 64 + 2 * (2 * 64 + 64 * 64 * 3 + 3 * 64 * 128)
    assert model.size_bytes == pytest.approx(2 * model.n_params, rel=0.01)
    assert model.description.startswith("llama")
    assert model.has_decoder
    assert not model.has_encoder
    assert (model.is_recurrent, model.is_hybrid, model.is_diffusion) == (False, False, False)
    assert model.decoder_start_token is None
    assert model.chat_template_source is None


def test_long_metadata_is_read_whole(tmp_path, vocab_dir):
    vocabulary, _ = tokenizer_entries(vocab_dir / "ggml-vocab-llama-spm.gguf")
    template = "{{ 'é' }}" * 1000
    path = _write_vocab_only(
        tmp_path, [*vocabulary, encode_entry("tokenizer.chat_template", template)]
    )
    with Model(path, ModelParams(vocab_only=True)) as model:
        assert model.chat_template_source == template
        assert model.metadata["tokenizer.chat_template"] == template


def _write_vocab_only(tmp_path: Path, more: list[bytes], architecture: str = "llama") -> Path:
    entries: dict[str, Value] = {
        "general.architecture": architecture,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.block_count": 1,
        "llama.feed_forward_length": 32,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }
    encoded = encode_entries(entries)
    return write_gguf(tmp_path / "model.gguf", encoded + more, {})


def test_progress_rises_from_0_to_1(random_llama_path):
    seen = []

    def go_on(value: float) -> bool:
        seen.append(value)
        return True

    Model(random_llama_path, progress=go_on).close()
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_a_callback_that_returns_false_cancels_the_load(random_llama_path):
    with pytest.raises(LoadCancelledError) as caught:
        Model(random_llama_path, progress=lambda value: False)
    assert caught.value.reason == "cancelled"


def test_an_exception_in_the_callback_comes_out_as_it_is(random_llama_path):
    def fail(value: float) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Model(random_llama_path, progress=fail)


def test_a_loaded_model_loads_again_beside_itself(random_llama_path, random_llama):
    with Model(random_llama_path, ModelParams(load_mode="none", use_extra_bufts=False)) as second:
        assert second.n_params == random_llama.n_params
        assert second.ptr != random_llama.ptr


def test_overrides_replace_metadata(random_llama_path):
    params = ModelParams(
        kv_overrides=(
            ("llama.context_length", 4096),
            ("tokenizer.ggml.add_bos_token", False),
            ("llama.rope.freq_base", 5000.0),
            ("general.name", "other"),
        ),
    )
    with Model(random_llama_path, params) as model:
        assert model.n_ctx_train == 4096
        assert not model.tokenizer.add_bos


def _reason(path: Path, params: ModelParams | None = None) -> tuple[str, str]:
    with pytest.raises(ModelLoadError) as caught:
        Model(path, params)
    return caught.value.reason, caught.value.detail


def test_a_missing_file_is_missing(tmp_path):
    assert _reason(tmp_path / "no.gguf")[0] == "missing_file"
    assert _reason(tmp_path)[0] == "missing_file"


def test_missing_shards_are_named(tmp_path, random_llama_path):
    path = tmp_path / "big-00002-of-00003.gguf"
    path.write_bytes(random_llama_path.read_bytes())
    reason, detail = _reason(path)
    assert reason == "missing_shard"
    assert "big-00001-of-00003.gguf, big-00003-of-00003.gguf" in detail


def test_any_shard_stands_for_the_whole():
    assert shards(Path("/m/a-00002-of-00002.gguf")) == [
        Path("/m/a-00001-of-00002.gguf"),
        Path("/m/a-00002-of-00002.gguf"),
    ]
    assert shards(Path("/m/a.gguf")) == [Path("/m/a.gguf")]


@pytest.mark.parametrize("size", [0, 3, 20, 500, 100_000, -100_000])
def test_a_truncated_file_is_corrupt(tmp_path, random_llama_path, size):
    path = tmp_path / "short.gguf"
    path.write_bytes(random_llama_path.read_bytes()[:size])
    assert _reason(path)[0] == "corrupt_file"


def test_something_else_than_a_gguf_is_corrupt_and_native_lines_are_reported(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("hello, this is no model")
    reason, detail = _reason(path)
    assert reason == "corrupt_file"
    assert "invalid magic" in detail


def test_absurd_lengths_are_corrupt_not_out_of_memory(tmp_path):
    path = tmp_path / "lie.gguf"
    entry = struct.pack("<Q", 2**62) + b"key"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry)
    assert _reason(path)[0] == "corrupt_file"


def test_an_unknown_architecture_is_unsupported(tmp_path, vocab_dir):
    path = _write_vocab_only(tmp_path, [], architecture="nonesuch")
    reason, detail = _reason(path)
    assert reason == "unsupported_architecture"
    assert "unknown model architecture: 'nonesuch'" in detail


def test_a_model_without_its_tensors_is_corrupt(tmp_path, vocab_dir):
    vocabulary, _ = tokenizer_entries(vocab_dir / "ggml-vocab-llama-spm.gguf")
    assert _reason(_write_vocab_only(tmp_path, vocabulary))[0] == "corrupt_file"


def test_wrong_shapes_are_corrupt(tmp_path, vocab_dir):
    path = write_random_llama(tmp_path / "x.gguf", vocab_dir / "ggml-vocab-llama-spm.gguf")
    overrides = (("llama.feed_forward_length", 256),)
    assert _reason(path, ModelParams(kv_overrides=overrides))[0] == "corrupt_file"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9", 0),
        ("load_tensors: unable to allocate CUDA0 buffer", 0),
        ("llama_model_load: error loading model: Resource temporarily unavailable", 0),
        ("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory", 0),
        ("error loading model: unknown pre-tokenizer type: 'x'", 1),
        ("this GGUF file is version 9 but this software only supports up to version 3", 1),
        ("error loading model: failed to load GGUF split from a.gguf", 2),
        (
            "tensor 'a' data is not within the file bounds, model is corrupted or incomplete",
            3,
        ),
        ("encountered bad_alloc error while reading value for key 'a'", 3),
        ("something new", 4),
    ],
)
def test_native_lines_tell_the_reason(line, reason):
    error = load_error(Path("m.gguf"), ["first", line, "failed to load model"])
    assert error.reason == REASONS[reason]
    assert line in error.detail


@pytest.mark.parametrize(
    "values",
    [
        {"n_gpu_layers": -2},
        {"split_mode": "rows"},
        {"load_mode": 1},
        {"main_gpu": 16},
        {"vocab_only": 1},
        {"tensor_split": (1.0,) * 17},
        {"tensor_split": (-1.0,)},
        {"kv_overrides": (("a" * 128, 1),)},
        {"kv_overrides": (("a", "x" * 128),)},
        {"kv_overrides": (("a", 2**63),)},
        {"kv_overrides": (("a\0", 1),)},
    ],
)
def test_parameters_that_cannot_be_are_refused(values):
    with pytest.raises(InvalidParameterError) as caught:
        ModelParams(**values)
    assert caught.value.field in values


def test_an_unknown_device_is_named(random_llama_path):
    with pytest.raises(InvalidParameterError, match=r"unknown device 'TPU7'; available: .*CPU"):
        Model(random_llama_path, ModelParams(devices=("TPU7",)))


def test_other_sizes_load_too(tmp_path, vocab_dir):
    shape = LlamaShape(n_embd=32, n_layer=1, n_head=2, n_head_kv=1, n_ctx_train=128)
    path = write_random_llama(tmp_path / "s.gguf", vocab_dir / "ggml-vocab-gpt-2.gguf", shape)
    with Model(path, ModelParams(check_tensors=True)) as model:
        assert (model.n_embd, model.n_vocab, model.n_ctx_train) == (32, 50_257, 128)


def test_the_machine_is_described():
    devices = backend.devices()
    cpu = next(device for device in devices if device.kind == "cpu")
    assert cpu.memory_total >= cpu.memory_free > 0
    assert cpu.name
    assert "CPU" in backend.backends()
    assert backend.features()["CPU"]


def test_native_log_lines_reach_python_logging(random_llama_path, caplog, capfd):
    with caplog.at_level("DEBUG", logger="llamabind.native"):
        Model(random_llama_path, ModelParams(vocab_only=True)).close()
    assert any("general.architecture" in record.getMessage() for record in caplog.records)
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert capfd.readouterr().err == ""
