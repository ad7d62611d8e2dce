"""llama-server's /props: properties of a model or of the server. Never loads a model."""

from typing import Any

from aiohttp import web

from llamabind import __version__
from llamabind.chat.media_markers import MEDIUM_TEXT
from server.api.llama_server.requested_model import requested_entry
from server.api.llama_server.schema_models import SuccessDocument
from server.api.llama_server.schema_state import DefaultSettings, PropsDocument
from server.api.shared.model_documents import listed_name
from server.config import ServerConfig
from server.errors import NotSupportedError
from server.http.access import require_admin
from server.http.app_keys import CONFIG
from server.http.body.json_body import json_reply
from server.models.entry import ModelEntry
from server.protocol.generation_settings import brief_settings
from server.protocol.sampling_defaults import SamplingDefaults

_OWN_BUILD = f"llamabind {__version__}"


async def show_props(request: web.Request) -> web.Response:
    """GET /props?model=ID; without ?model and --model, the properties of the server."""
    config = request.app[CONFIG]
    if config.model_file is None and "model" not in request.query:
        return json_reply(_server_props(config))
    entry = await requested_entry(request)
    return json_reply(_model_props(config, entry, listed_name(request.app, entry)))


async def change_props(request: web.Request) -> web.Response:
    """POST /props: as in llama-server it changes nothing yet."""
    if not request.app[CONFIG].props:
        raise NotSupportedError("POST /props is switched off; start the server with --props")
    require_admin(request)
    return json_reply(SuccessDocument())


def _server_props(config: ServerConfig) -> PropsDocument:
    return PropsDocument(
        role="router",
        max_instances=config.models_max,
        models_autoload=config.models_autoload,
        default_generation_settings=DefaultSettings({}, 0),
        model_alias="llamabind",
        model_path="none",
        build_info=_OWN_BUILD,
        endpoint_slots=config.slots,
        endpoint_props=config.props,
        endpoint_metrics=config.metrics,
    )


def _sampling(entry: ModelEntry) -> dict[str, Any]:
    defaults = entry.settings.sampling or SamplingDefaults()
    return brief_settings(defaults.params(), defaults.max_tokens)


def _model_props(config: ServerConfig, entry: ModelEntry, name: str) -> PropsDocument:
    header = entry.file.header
    model = entry.worker.model if entry.is_in_memory else None
    n_ctx = model.n_ctx if model else (header.context_length if header else None) or 0
    effective = model.effective if model else {}
    template = entry.settings.chat_template or (header.chat_template if header else None)
    return PropsDocument(
        default_generation_settings=DefaultSettings(_sampling(entry), n_ctx),
        total_slots=model.n_parallel if model else None,
        model_alias=name,
        # Clients must not learn the path of the file.
        model_path=entry.id,
        model_ftype=header.file_type_name if header else None,
        modalities={
            "vision": bool(effective.get("vision")),
            "video": False,
            "audio": bool(effective.get("audio")),
        },
        media_marker=MEDIUM_TEXT,
        endpoint_slots=config.slots,
        endpoint_props=config.props,
        endpoint_metrics=config.metrics,
        chat_template=template or "",
        chat_template_caps=model.template_capabilities if model else None,
        bos_token=model.bos_token if model else None,
        eos_token=model.eos_token if model else None,
        build_info=(model.fingerprint if model else "") or _OWN_BUILD,
        is_sleeping=model is None,
    )
