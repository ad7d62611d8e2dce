"""llama-server's GET /slots: what each slot of a loaded model holds and computes."""

from aiohttp import web

from server.api.llama_server.requested_model import loaded_entry
from server.api.llama_server.schema_state import NextToken, SlotDocument
from server.errors import NotSupportedError, UnavailableError
from server.http.app_keys import CONFIG
from server.http.body.json_body import json_reply
from server.models.entry import ModelEntry
from server.protocol.tasks import ListSlots, SlotInfo, SlotList
from server.requests.dispatch import peek

_RETRY_SECONDS = 1


async def list_slots(request: web.Request) -> web.Response:
    """GET /slots; with ?fail_on_no_slot=1 it is a 503 while no slot is free."""
    if not request.app[CONFIG].slots:
        raise NotSupportedError("/slots is switched off; start the server with --slots")
    entry = await loaded_entry(request)
    result = await peek(entry, ListSlots())
    assert isinstance(result, SlotList)
    n_busy = sum(slot.request is not None for slot in result.slots)
    if request.query.get("fail_on_no_slot") and n_busy >= entry.worker.model.n_parallel:
        raise UnavailableError("no slot available", retry_after=_RETRY_SECONDS)
    return json_reply([_document(entry, slot) for slot in result.slots])


def _document(entry: ModelEntry, slot: SlotInfo) -> SlotDocument:
    model, running = entry.worker.model, slot.request
    speculates = model.effective.get("speculative", "off") != "off"
    if running is None:
        return SlotDocument(
            id=slot.id,
            n_ctx=model.n_ctx,
            speculative=speculates,
            is_processing=False,
            n_prompt_tokens=slot.n_tokens,
        )
    return SlotDocument(
        id=slot.id,
        n_ctx=model.n_ctx,
        speculative=speculates,
        is_processing=True,
        n_prompt_tokens=slot.n_tokens,
        id_task=running.id,
        n_prompt_tokens_processed=running.n_computed - running.n_cached,
        n_prompt_tokens_cache=running.n_cached,
        params=running.settings,
        next_token=[NextToken(running.n_remain > 0, running.n_remain, running.n_generated)],
    )
