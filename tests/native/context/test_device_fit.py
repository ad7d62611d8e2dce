"""fit_devices and tensors put where one wants them, as far as a machine without GPUs can tell."""

import re

import pytest

from llamabind.context.device_fit import fit_devices
from llamabind.context.params import ContextParams
from llamabind.errors import InvalidParameterError, ModelLoadError
from llamabind.native.backend import buffer_types, devices
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

pytestmark = pytest.mark.native


def test_parameters_of_a_model_that_fits_are_unchanged(random_llama_path):
    params = ModelParams()
    assert fit_devices(random_llama_path, params, ContextParams(n_ctx=256)) == params


def test_a_file_that_cannot_be_laid_out_is_an_error(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match="cannot fit"):
        fit_devices(tmp_path / "bad.gguf", ModelParams(), ContextParams(n_ctx=256))


def test_every_device_has_a_buffer_type():
    assert "CPU" in buffer_types()
    assert len(buffer_types()) == len(devices())


def test_exactly_the_tensors_of_a_pattern_are_put_into_its_buffers(random_llama_path, caplog):
    # On a machine without GPUs all tensors are in these buffers anyway: native code's log tells
    # which of them it put there because of the pattern. With repacked weights "CPU" stands for
    # whichever of the CPU's buffer types takes the tensor.
    params = ModelParams(tensor_buffers=((r"blk\.0\.ffn_.*", "CPU"),), use_extra_bufts=False)
    with (
        caplog.at_level("DEBUG", logger="llamabind.native"),
        Model(random_llama_path, params) as model,
    ):
        assert model.n_layer == 2
    moved = [
        found.groups()
        for record in caplog.records
        if (found := re.match(r"tensor (\S+) .*overridden to (.+)", record.getMessage()))
    ]
    assert sorted(moved) == [
        ("blk.0.ffn_down.weight", "CPU"),
        ("blk.0.ffn_gate.weight", "CPU"),
        ("blk.0.ffn_norm.weight", "CPU"),
        ("blk.0.ffn_up.weight", "CPU"),
    ]


def test_an_unknown_buffer_type_is_refused(random_llama_path):
    with pytest.raises(InvalidParameterError, match="unknown buffer type 'CUDA99'"):
        Model(random_llama_path, ModelParams(tensor_buffers=((".*", "CUDA99"),)))
