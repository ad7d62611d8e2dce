"""The scales of LoRA adapters, as requests name them."""

from collections.abc import Mapping

from llamabind.errors import InvalidParameterError


def adapter_scales(scales: Mapping[int, float], n_adapters: int, param: str) -> tuple[float, ...]:
    """The scale of each adapter; those that are not named get 0.

    Raises InvalidParameterError naming `param` for an adapter that does not exist.
    """
    for number in scales:
        if number >= n_adapters:
            raise InvalidParameterError(
                param, f"adapter {number} does not exist: the model has {n_adapters} adapters"
            )
    return tuple(scales.get(number, 0.0) for number in range(n_adapters))
