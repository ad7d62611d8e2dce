"""PrefixKeys: keys of files, hashes of all that a loaded model's KV states depend on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from llamabind.native import backend
from llamabind.native.kernels import attention_in_use

if TYPE_CHECKING:
    from array import array

    from llamabind.engine.engine import Engine
    from llamabind.engine.slot_exchange import SlotExchange
    from llamabind.engine.slot_file import SlotContent
    from llamabind.kv_cache.slot import Adapters

_FORMAT: Final = 1
WHOLE: Final = ".prefix"
PARTIAL: Final = ".partial.prefix"
"""End of the name of a file whose state holds only the part of the memory that cannot be cut."""


class PrefixKeys:
    """The keys of one engine: SlotExchange's key, and a fingerprint that tells apart files with the
    same header.

    `fingerprints` are those of the model's and the adapters' files. Of the settings that change
    only the rounding of results, just `deterministic` is part of the key, together with the CPU's
    features: its answers must have the same bits whichever process computed their prefix.
    """

    def __init__(self, engine: Engine, exchange: SlotExchange, fingerprints: list[str]) -> None:
        self._exchange = exchange
        is_deterministic = engine.context.params.deterministic
        facts = (
            _FORMAT,
            fingerprints,
            engine.model.params.kv_overrides,
            is_deterministic,
            (attention_in_use(), backend.features()) if is_deterministic else None,
        )
        self._facts = repr(facts).encode()
        self._known: dict[Adapters, bytes] = {}
        self.prefix = self.of(()).hex()[:32]

    def of(self, adapters: Adapters) -> bytes:
        """Return the key of states that were computed with these scales; 32 bytes."""
        key = self._known.get(adapters)
        if key is None:
            # A client may send a new scale with each request.
            if len(self._known) > 64:
                self._known.clear()
            digest = hashlib.sha256(self._facts + self._exchange.key_of(adapters))
            key = self._known[adapters] = digest.digest()
        return key

    def name_of(self, content: SlotContent) -> str:
        """Return the name of the file for a state: all states of this engine begin alike."""
        digest = hashlib.sha256(content.key)
        digest.update(text_of(content.tokens).tobytes())
        digest.update(repr(content.media).encode())
        kind = PARTIAL if content.state.flags else WHOLE
        return f"{self.prefix}-{digest.hexdigest()[:32]}{kind}"


def text_of(tokens: array[int]) -> array[int]:
    """Return the tokens with 0 for each pseudo-token of media, valid in this process only."""
    return tokens if min(tokens) >= 0 else type(tokens)("i", (max(0, token) for token in tokens))
