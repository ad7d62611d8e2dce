"""Ollama's /api/show: what a model can do, its template, header and default parameters."""

import json
from typing import Any, Final, Literal

from aiohttp import web
from msgspec import UNSET

from llamabind import SamplingParams
from server.api.ollama.models import details, find_model
from server.api.ollama.schema import OllamaModel, ShowBody
from server.api.shared.modalities import modalities
from server.api.shared.model_documents import capabilities, template_of
from server.catalogue.template_capabilities import renders_thinking
from server.errors import InvalidRequestError
from server.formats import iso_time
from server.http.app_keys import CONFIG
from server.http.body.json_body import json_reply, read_body
from server.models.entry import ModelEntry

_SAMPLING: Final = ("temperature", "top_k", "top_p", "min_p", "repeat_last_n", "repeat_penalty")
# Keys of the tokens for filling a gap, by their newer and their older name.
_GAP_TOKENS: Final = (
    "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.suffix_token_id",
)


async def show(request: web.Request) -> web.Response:
    """POST /api/show: template, details, header and capabilities of a model."""
    body = await read_body(request, ShowBody)
    name = body.model or body.name
    if name is None:
        raise InvalidRequestError("field 'model' is required", param="model")
    entry = await find_model(request, name)
    template = template_of(entry)
    parameters = _parameters(entry)
    metadata = entry.file.header.metadata if entry.file.header else {}
    kinds = await modalities(request.app, entry)
    can_fill = any(key in metadata for key in _GAP_TOKENS)
    source: Literal["gguf_chat_template", "none"] = "gguf_chat_template" if template else "none"
    document = OllamaModel(
        modified_at=iso_time(entry.file.modified),
        modelfile=_modelfile(entry, parameters, template),
        parameters="\n".join(f"{key:<30} {value}" for key, value in parameters),
        template=template,
        template_source=source,
        details=details(entry),
        model_info=_model_info(entry),
        capabilities=[*capabilities(entry, kinds), *(["insert"] if can_fill else [])],
        license=_text(metadata.get("general.license")) or UNSET,
        thinking=_levels(template, request.app[CONFIG].enable_thinking) or UNSET,
    )
    return json_reply(document)


def _parameters(entry: ModelEntry) -> list[tuple[str, str]]:
    """The defaults of a request, by Ollama's names."""
    n_ctx = entry.worker.model.n_ctx if entry.is_in_memory else entry.settings.n_ctx
    defaults = SamplingParams()
    context = [("num_ctx", str(n_ctx))] if n_ctx else []
    return [*context, *((name, f"{getattr(defaults, name):g}") for name in _SAMPLING)]


def _modelfile(entry: ModelEntry, parameters: list[tuple[str, str]], template: str) -> str:
    """The model in Ollama's file format; the template is Jinja, as Ollama reads it from a GGUF."""
    lines = ["# Modelfile made by llamabind", f"FROM {entry.id}"]
    if template and '"""' not in template:
        lines.append(f'TEMPLATE """{template}"""')
    return "\n".join([*lines, *(f"PARAMETER {key} {value}" for key, value in parameters), ""])


def _model_info(entry: ModelEntry) -> dict[str, Any]:
    header = entry.file.header
    if header is None:
        return {}
    info: dict[str, Any] = dict.fromkeys(header.arrays) | dict(header.metadata)
    info.pop("tokenizer.chat_template", None)
    return info | {"general.parameter_count": entry.file.parameter_count}


def _levels(template: str, thinks: bool | None) -> dict[str, Any] | None:
    """The values that `think` may have, and the default; None for a model without reasoning."""
    if not renders_thinking(template):
        return None
    levels = ["low", "medium", "high"] if "reasoning_effort" in template else []
    return {"values": [False, True, *levels], "default": thinks is not False}


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
