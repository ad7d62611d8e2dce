"""The input modalities of a model: as it was loaded, or as its settings would load it."""

import asyncio
from typing import Final

from aiohttp import web

from llamabind.errors import GgufError, InvalidParameterError
from llamabind.gguf.header import read_gguf_header
from server.catalogue.companion_files import CompanionFiles
from server.http.app_keys import COMPANIONS
from server.models.entry import ModelEntry
from server.protocol.load_settings import LoadSettings

_TEXT: Final = "text"
# The name in the API, the key in `effective`, and the key in a projector's header.
_KINDS: Final = (
    ("image", "vision", "clip.has_vision_encoder"),
    ("audio", "audio", "clip.has_audio_encoder"),
)


def loaded_modalities(entry: ModelEntry) -> list[str]:
    """The modalities of a model that is in memory; only text for any other model."""
    effective = entry.worker.model.effective if entry.is_in_memory else {}
    return [_TEXT, *(kind for kind, word, _ in _KINDS if effective.get(word))]


async def modalities(app: web.Application, entry: ModelEntry) -> list[str]:
    """The modalities of a model, loaded or not; without a projector in its settings only text."""
    if entry.is_in_memory or entry.settings.projector is None:
        return loaded_modalities(entry)
    return await asyncio.to_thread(_of_settings, app[COMPANIONS], entry.settings)


def _of_settings(files: CompanionFiles, settings: LoadSettings) -> list[str]:
    """From the projector's header; if it cannot be read, only text. A load reports that error."""
    try:
        projector = files.find(settings).mmproj
        metadata = read_gguf_header(projector).metadata if projector else {}
    except (GgufError, InvalidParameterError):
        metadata = {}
    return [_TEXT, *(kind for kind, _, key in _KINDS if metadata.get(key))]
