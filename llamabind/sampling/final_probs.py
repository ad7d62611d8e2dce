"""FinalProbs: the probabilities that a request's samplers leave, as a token is chosen from them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from llamabind._capi import llama, types
from llamabind.native.handle import Handle
from llamabind.sampling.chain import build_filters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamabind._capi.types import SamplerHandle
    from llamabind.native.model import Model
    from llamabind.sampling.params import SamplingParams

# struct llama_token_data of llama.h
_CANDIDATE: Final = [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]


class FinalProbs(Handle["SamplerHandle"]):
    """A copy of one request's samplers without the last one, which chooses. One thread at a time.

    A grammar is not among them, and XTC draws random numbers of its own.
    """

    def __init__(self, model: Model, params: SamplingParams, n_history: int) -> None:
        self._n_vocab = model.n_vocab
        super().__init__(build_filters(model, params, n_history), model)

    def accept(self, token: int) -> None:
        """Count a token for penalties."""
        llama.llama_sampler_accept(self.ptr, token)

    def top(self, logits: NDArray[np.float32]) -> list[tuple[int, float]]:
        """Return (token, probability) pairs, the likeliest first, without impossible tokens."""
        import numpy as np

        candidates = np.zeros(self._n_vocab, _CANDIDATE)
        candidates["id"] = np.arange(self._n_vocab)
        candidates["logit"] = logits
        array = types.llama_token_data_array(
            data=ctypes.cast(candidates.ctypes.data, ctypes.POINTER(types.llama_token_data)),
            size=self._n_vocab,
            selected=-1,
            sorted=False,
        )
        llama.llama_sampler_apply(self.ptr, ctypes.byref(array))
        left = candidates[: array.size]
        values = left["logit"].astype(np.float64)
        weights = np.exp(values - values.max())
        probabilities = weights / weights.sum()
        # Equal ones by token id, so that the result does not depend on the machine.
        order = np.lexsort((left["id"], -probabilities))
        return [
            (int(left["id"][index]), float(probabilities[index]))
            for index in order
            if probabilities[index] > 0.0
        ]

    def _free(self, handle: SamplerHandle) -> None:
        llama.llama_sampler_free(handle)
