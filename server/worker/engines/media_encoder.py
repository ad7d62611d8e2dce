"""MediaEncoder: encodes the images and audio of a conversation for the model."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamabind.chat.media_markers import is_medium
from llamabind.errors import (
    InvalidParameterError,
    MissingLibraryError,
    ProjectorError,
    PromptTooLongError,
)
from llamabind.media.medium import EncodedMedium
from server.protocol.job import instead_of_file

if TYPE_CHECKING:
    from llamabind import Projector

# Clients send all images of a conversation again with every message.
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class EncodedMessages:
    """Messages as llamabind's Prompter takes them, and warnings that name media left out."""

    messages: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()


class MediaEncoder:
    """Encodes media and caches the latest results. Any thread; calls are serialised.

    `projector` is None for a model that reads only text. `n_ctx` is the limit of a prompt's tokens,
    `n_ubatch` that of a medium whose attention is not causal.
    """

    def __init__(self, projector: "Projector | None", *, n_ctx: int, n_ubatch: int) -> None:
        self._projector = projector
        self._n_ctx = n_ctx
        self._n_ubatch = n_ubatch
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, EncodedMedium] = OrderedDict()
        self._n_bytes = 0

    def encode(self, messages: Sequence[dict[str, Any]]) -> EncodedMessages:
        """Encode the media of a conversation.

        Media that the model cannot read are an error in a user's message. In a tool's result they
        are replaced by a text: agents send it again with every later message, so after an error the
        conversation could not continue.

        Raises InvalidParameterError naming the content part, PromptTooLongError, ProjectorError.
        """
        n_tokens = 0
        encoded = []
        warnings: list[str] = []
        for message in messages:
            content = message.get("content")
            if not isinstance(content, list):
                encoded.append(message)
                continue
            may_leave_out = message.get("role") == "tool"
            with self._lock:
                parts = [
                    self._encode_or_leave_out(part, warnings)
                    if may_leave_out
                    else self._encode_part(part)
                    for part in content
                ]
            n_tokens += sum(part["medium"].n_tokens for part in parts if is_medium(part))
            if n_tokens >= self._n_ctx:
                # Refuse before encoding the rest.
                raise PromptTooLongError(n_tokens, self._n_ctx, is_estimate=True)
            encoded.append({**message, "content": parts})
        return EncodedMessages(encoded, tuple(warnings))

    def encode_parts(self, parts: Sequence[Any]) -> list[Any]:
        """Encode the media among the parts of a prompt that is not a conversation.

        Raises InvalidParameterError naming the part, PromptTooLongError, ProjectorError.
        """
        [message] = self.encode([{"content": list(parts)}]).messages
        encoded: list[Any] = message["content"]
        return encoded

    def _encode_or_leave_out(self, part: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
        try:
            return self._encode_part(part)
        except InvalidParameterError as error:
            reason = error.message
        except (MissingLibraryError, ProjectorError) as error:
            reason = str(error)
        warnings.append(f"{part['param']} is left out: {reason}")
        return instead_of_file(reason)

    def _encode_part(self, part: dict[str, Any]) -> dict[str, Any]:
        if not is_medium(part):
            return part
        param = part["param"]
        if self._projector is None:
            raise InvalidParameterError(
                param, "the model was loaded without a projector (mmproj) and reads text only"
            )
        data = part["data"]
        key = hashlib.blake2b(data, digest_size=32).digest()
        medium = self._known.get(key)
        if medium is None:
            medium = self._projector.encode_file(data, param)
            self._check(medium, param)
            self._remember(key, medium)
        else:
            self._known.move_to_end(key)
        return {"type": part["type"], "medium": medium, "param": param}

    def _check(self, medium: EncodedMedium, param: str) -> None:
        if medium.n_at_once > self._n_ubatch:
            raise InvalidParameterError(
                param,
                f"needs {medium.n_at_once} tokens in one batch, over n_ubatch {self._n_ubatch}; "
                "load the model with a larger n_ubatch",
            )

    def _remember(self, key: bytes, medium: EncodedMedium) -> None:
        if medium.n_bytes > _CACHE_BYTES:
            return
        self._known[key] = medium
        self._n_bytes += medium.n_bytes
        while self._n_bytes > _CACHE_BYTES:
            _, oldest = self._known.popitem(last=False)
            self._n_bytes -= oldest.n_bytes
