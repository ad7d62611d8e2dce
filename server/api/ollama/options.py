"""The `options` of Ollama's requests: sampling, limits, and names that have no effect here."""

from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from server.api.schema.sampling import SamplingFields
from server.http.body.json_body import read_json
from server.http.body.lenient_values import CLAMPED

_SHOWN: Final = 64
_MAX_WARNINGS: Final = 16
# Options of a load in Ollama, where a request with other ones loads the model again.
_LOAD_OPTIONS: Final = frozenset(
    {
        *("num_batch", "num_gpu", "main_gpu", "num_thread", "numa", "low_vram", "f16_kv"),
        *("logits_all", "vocab_only", "use_mmap", "use_mlock", "embedding_only"),
    }
)


class Options(SamplingFields, frozen=True, kw_only=True):
    """Sampling and limits. Settings of a load have no effect; for those, and for unknown names,
    the answer has a warning. `num_ctx` is compared with the context of the loaded model.
    """

    num_predict: Annotated[int, Meta(ge=-2, le=2**31 - 1, extra=CLAMPED)] | None = None
    num_ctx: int | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of a Job. Raises InvalidRequestError, InvalidParameterError."""
        self.refuse_several("options.")
        fields = self.job_fields()
        if self.num_predict is not None:
            fields["max_tokens"] = None if self.num_predict < 0 else self.num_predict
        return fields


class _WithOptions(msgspec.Struct):
    """The names in `options` of any body."""

    options: dict[str, Any] | None = None


KNOWN: Final = frozenset(Options.__struct_fields__)


async def ignored_options(request: web.Request, known: frozenset[str] = KNOWN) -> tuple[str, ...]:
    """A warning for each option that has a value and is not in `known`."""
    try:
        options = msgspec.json.decode(await read_json(request), type=_WithOptions).options or {}
    except msgspec.MsgspecError:
        # msgspec refuses a value, such as a huge number, that the parser of bodies has converted.
        return ()
    names = [name for name, value in options.items() if value is not None and name not in known]
    warnings = [_warning(name[:_SHOWN]) for name in names[:_MAX_WARNINGS]]
    left = len(names) - len(warnings)
    return (
        *warnings,
        *([f"options: more names are ignored ({left})"] if left else []),
    )


def _warning(name: str) -> str:
    if name in _LOAD_OPTIONS:
        return f"options.{name} is ignored: it is a setting of the load"
    return f"options.{name} is ignored: it has no effect here"
