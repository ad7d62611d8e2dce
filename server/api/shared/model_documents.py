"""model_document: a model as in /v1/models, in OpenAI's form with keys that other servers add."""

from typing import Any, Final

from aiohttp import web

from server.catalogue.template_capabilities import renders_thinking, renders_tools
from server.http.app_keys import CONFIG, PRESETS, REGISTRY
from server.models.entry import ModelEntry
from server.models.state import ModelState

# llama-server has fewer states; `state` beside it has this server's own.
STATUS_WORDS: Final = {
    ModelState.UNLOADED: "unloaded",
    ModelState.QUEUED: "loading",
    ModelState.LOADING: "loading",
    ModelState.LOADED: "loaded",
    ModelState.DRAINING: "loaded",
    ModelState.FAILED: "unloaded",
    ModelState.BROKEN: "unloaded",
}


def listed_name(app: web.Application, entry: ModelEntry) -> str:
    """A model's name in lists: its id, the name of its preset, or the first alias of the model of
    --model.
    """
    config, preset = app[CONFIG], app[PRESETS].find(entry.id)
    if preset is not None:
        return preset.name
    return config.aliases[0] if config.model_file is not None and config.aliases else entry.id


def model_document(
    app: web.Application, entry: ModelEntry, modalities: list[str]
) -> dict[str, Any]:
    """One element of /v1/models; values that only a load reveals are null until then."""
    file, header = entry.file, entry.file.header
    name = listed_name(app, entry)
    n_ctx_train = header.context_length if header else None
    n_ctx = entry.worker.model.n_ctx if entry.is_in_memory else n_ctx_train
    return {
        "id": name,
        "aliases": [other for other in _names(app, entry) if other != name],
        "tags": _tags(app, entry),
        "object": "model",
        "created": int(file.modified.timestamp()),
        "owned_by": "llamabind",
        "status": _status(entry),
        "architecture": {"input_modalities": modalities, "output_modalities": ["text"]},
        "source": _source(app, entry),
        "can_remove": file.hub is not None,
        "capabilities": capabilities(entry, modalities),
        "context_length": n_ctx,
        "max_model_len": n_ctx,
        "meta": {
            "vocab_type": header.vocabulary_type if header else None,
            "n_vocab": header.vocabulary_size if header else None,
            "n_ctx": n_ctx,
            "n_ctx_train": n_ctx_train,
            "n_embd": header.embedding_length if header else None,
            "n_params": file.parameter_count,
            "size": file.size,
            "ftype": header.file_type_name if header else None,
        },
    }


def native_entry(document: dict[str, Any]) -> dict[str, Any]:
    """One element of `models`, which llama-server lists beside `data`, in Ollama's form."""
    meta = document["meta"]
    return {
        "name": document["id"],
        "model": document["id"],
        "modified_at": "",
        "size": meta["size"],
        "digest": "",
        "type": "model",
        "description": "",
        "tags": document["tags"],
        "capabilities": document["capabilities"],
        "parameters": "",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [],
            "parameter_size": "",
            "quantization_level": meta["ftype"] or "",
        },
    }


def _tags(app: web.Application, entry: ModelEntry) -> list[str]:
    preset = app[PRESETS].find(entry.id)
    return list(app[CONFIG].tags if preset is None else preset.tags)


def _source(app: web.Application, entry: ModelEntry) -> str:
    if app[PRESETS].find(entry.id) is not None:
        return "preset"
    if entry.file.hub is not None:
        return "cache"
    return "models_dir" if app[CONFIG].model_file is None else "model"


def template_of(entry: ModelEntry) -> str:
    """The source of the chat template that the model uses or would use; "" for none."""
    header = entry.file.header
    return entry.settings.chat_template or (header.chat_template if header else None) or ""


def is_failed(state: ModelState) -> bool:
    """Whether the model is not in memory because of an error."""
    return state in (ModelState.FAILED, ModelState.BROKEN)


def _names(app: web.Application, entry: ModelEntry) -> tuple[str, ...]:
    return (entry.id, *app[REGISTRY].aliases_of(entry.id))


def _status(entry: ModelEntry) -> dict[str, Any]:
    status: dict[str, Any] = {"value": STATUS_WORDS[entry.state], "state": entry.state.value}
    if entry.state is ModelState.LOADING:
        status["progress"] = round(entry.progress, 3)
    if is_failed(entry.state):
        status["failed"] = True
        failure = entry.failure
        status["reason"] = failure.reason if failure else entry.file.reason
    return status


def capabilities(entry: ModelEntry, modalities: list[str]) -> list[str]:
    """What the model can do, in the terms of llama-server and Ollama."""
    if entry.settings.embedding:
        return ["rerank" if entry.settings.pooling == "rank" else "embedding"]
    also = (
        ("tools", renders_tools(template_of(entry))),
        ("thinking", renders_thinking(template_of(entry))),
        ("multimodal", len(modalities) > 1),
        ("vision", "image" in modalities),
        ("audio", "audio" in modalities),
    )
    return ["completion", *(word for word, has_it in also if has_it)]
