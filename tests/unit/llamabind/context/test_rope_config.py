"""RopeConfig: refused values, and which fields differ from the model's."""

import pytest

from llamabind._capi.types import llama_context_params
from llamabind.context.params import ContextParams
from llamabind.context.rope_config import RopeConfig
from llamabind.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rope_scaling", "ntk"),
        ("rope_freq_base", float("nan")),
        ("rope_freq_base", -1.0),
        ("rope_freq_scale", 1e13),
        ("yarn_ext_factor", -2.0),
        ("yarn_beta_slow", float("inf")),
        ("yarn_orig_ctx", -1),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name, value):
    with pytest.raises(InvalidParameterError) as caught:
        RopeConfig(**{name: value})
    assert caught.value.field == name


def test_every_number_is_a_field_of_llama_cpps_parameters():
    numbers = RopeConfig().numbers()
    fields = {name for name, *_ in llama_context_params._fields_}
    assert len(numbers) == 7
    assert set(numbers) <= fields


def test_changes_name_the_models_own_values_none():
    assert set(RopeConfig().changes().values()) == {None}
    changes = RopeConfig(rope_scaling="yarn", yarn_ext_factor=0.0, yarn_orig_ctx=4096).changes()
    given = {name: value for name, value in changes.items() if value is not None}
    assert given == {"rope_scaling": "yarn", "yarn_ext_factor": 0.0, "yarn_orig_ctx": 4096}


def test_a_context_leaves_positions_to_the_model_unless_configured():
    assert ContextParams().rope == RopeConfig()
