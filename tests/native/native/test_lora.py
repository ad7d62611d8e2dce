"""LoraAdapter: its effect on the answers, and files on which native code would abort."""

import gc
import os
import weakref

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.errors import AdapterError, HandleClosedError, InvalidParameterError
from llamabind.native.lora import LoraAdapter
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.random_gguf import LlamaShape, write_random_lora

pytestmark = pytest.mark.native


def _logits(context):
    context.memory_clear()
    batch = Batch(8)
    batch.extend([1, 450, 4996], 0, 0, output_last=True)
    context.decode(batch)
    return context.logits(-1).copy()


def test_an_adapter_changes_the_logits_by_its_scale(context, random_llama, random_lora_path):
    plain = _logits(context)
    with LoraAdapter(random_llama, random_lora_path) as adapter:
        context.set_lora([(adapter, 1.0)])
        full = _logits(context)
        context.set_lora([(adapter, 0.5)])
        half = _logits(context)
        context.set_lora([(adapter, 0.0)])
        np.testing.assert_allclose(_logits(context), plain, atol=1e-3)
        context.set_lora([])
        np.testing.assert_array_equal(_logits(context), plain)
    assert np.abs(full - plain).max() > np.abs(half - plain).max() > 0.01


def test_closing_an_adapter_takes_it_off_the_context(context, random_llama, random_lora_path):
    plain = _logits(context)
    adapter = LoraAdapter(random_llama, random_lora_path)
    context.set_lora([(adapter, 1.0)])
    adapter.close()
    np.testing.assert_array_equal(_logits(context), plain)
    with pytest.raises(HandleClosedError):
        context.set_lora([(adapter, 1.0)])


def test_an_adapter_that_outlives_a_context_neither_keeps_it_nor_touches_it(
    random_llama, random_lora_path
):
    with LoraAdapter(random_llama, random_lora_path) as adapter:
        kept, dropped = Context(random_llama), Context(random_llama)
        for context in (kept, dropped):
            context.set_lora([(adapter, 1.0)])
            context.close()
        gone = weakref.ref(dropped)
        del dropped, context
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "1"])
def test_a_scale_is_a_finite_number(context, random_llama, random_lora_path, scale):
    with (
        LoraAdapter(random_llama, random_lora_path) as adapter,
        pytest.raises(InvalidParameterError, match="scale"),
    ):
        context.set_lora([(adapter, scale)])


def test_an_adapter_of_another_model_is_refused(context, random_llama_path, random_lora_path):
    with (
        Model(random_llama_path) as other,
        LoraAdapter(other, random_lora_path) as adapter,
        pytest.raises(AdapterError, match="was loaded for another model"),
    ):
        context.set_lora([(adapter, 1.0)])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.type": "model"}, "general.type is 'model'"),
        ({"general.type": 3}, "general.type is 3"),
        ({"adapter.type": "loha"}, "adapter.type is 'loha'"),
        ({"general.architecture": "qwen2"}, "general.architecture is 'qwen2'"),
        ({"adapter.lora.alpha": "8"}, "alpha is not a 32-bit float"),
        ({"adapter.lora.alpha": 8}, "alpha is not a 32-bit float"),
    ],
)
def test_wrong_metadata_is_refused(tmp_path, random_llama, metadata, message):
    path = write_random_lora(tmp_path / "bad.gguf", metadata=metadata)
    with pytest.raises(AdapterError, match=message):
        LoraAdapter(random_llama, path)


def test_files_other_than_adapters_are_refused(tmp_path, random_llama, random_lora_path):
    with pytest.raises(AdapterError, match="is not a file"):
        LoraAdapter(random_llama, tmp_path / "none.gguf")
    for name, content in (
        ("text.gguf", b"hello"),
        ("cut.gguf", random_lora_path.read_bytes()[:-64]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AdapterError, match=name):
            LoraAdapter(random_llama, tmp_path / name)


def test_a_wrong_shape_is_refused_with_the_native_reason(tmp_path, random_llama):
    path = write_random_lora(tmp_path / "wide.gguf", LlamaShape(n_embd=128))
    with pytest.raises(AdapterError, match="incorrect shape"):
        LoraAdapter(random_llama, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_one_weight_that_is_not_finite_is_refused_with_its_tensor(
    tmp_path, random_llama, random_lora_path, value, dtype
):
    """The last weight of an adapter of more than the piece that is read at once."""
    path = tmp_path / "damaged.gguf"
    write_random_lora(path, rank=4 << 20 >> 8, dtype=dtype)
    with path.open("r+b") as file:
        file.seek(-np.dtype(dtype).itemsize, os.SEEK_END)
        file.write(np.array(value, dtype).tobytes())
    last = f"blk.{LlamaShape().n_layer - 1}.attn_q.weight.lora_b"
    with pytest.raises(AdapterError, match=rf"damaged\.gguf: tensor '{last}' .* NaN or infinite"):
        LoraAdapter(random_llama, path)


def test_a_model_without_weights_refuses_an_adapter(random_llama_path, random_lora_path):
    with (
        Model(random_llama_path, ModelParams(vocab_only=True)) as model,
        pytest.raises(AdapterError, match="without its weights"),
    ):
        LoraAdapter(model, random_lora_path)
