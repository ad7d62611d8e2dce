"""The scales of LoRA adapters in a request: one for each adapter."""

import pytest

from server.api.schema.sampling import scales_by_adapter
from server.errors import InvalidRequestError


def test_each_adapter_gets_its_scale():
    assert scales_by_adapter([(1, 0.5), (0, 1.0)], "lora") == {0: 1.0, 1: 0.5}


def test_an_adapter_that_is_listed_twice_is_named():
    with pytest.raises(InvalidRequestError, match="adapter 3 is listed twice") as failure:
        scales_by_adapter([(3, 1.0), (3, 1.0)], "lora")
    assert failure.value.param == "lora"
