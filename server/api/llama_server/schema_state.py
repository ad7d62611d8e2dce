"""Requests and answers of llama-server's /props and /slots."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

Count = Annotated[int, Meta(ge=0)]


class DefaultSettings(msgspec.Struct, frozen=True):
    """The sampling defaults of a request, and the most tokens that it may use."""

    params: dict[str, Any]
    n_ctx: Count


class PropsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of GET /props; values that only a load reveals are null until then.

    Without ?model and --model it describes the server, in `role` and the fields after it.
    """

    default_generation_settings: DefaultSettings
    model_alias: str
    model_path: str
    build_info: str
    endpoint_slots: bool
    endpoint_props: bool
    endpoint_metrics: bool
    total_slots: Count | UnsetType | None = UNSET
    model_ftype: str | UnsetType | None = UNSET
    modalities: dict[str, bool] | UnsetType = UNSET
    media_marker: str | UnsetType = UNSET
    chat_template: str | UnsetType = UNSET
    chat_template_caps: dict[str, bool] | UnsetType | None = UNSET
    bos_token: str | UnsetType | None = UNSET
    eos_token: str | UnsetType | None = UNSET
    is_sleeping: bool | UnsetType = UNSET
    role: str | UnsetType = UNSET
    max_instances: Count | UnsetType = UNSET
    models_autoload: bool | UnsetType = UNSET


class NextToken(msgspec.Struct, frozen=True):
    """The progress of an answer, in tokens."""

    has_next_token: bool
    n_remain: Count
    n_decoded: Count


class SlotDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One slot; the fields after `n_prompt_tokens` describe the request that it computes."""

    id: Count
    n_ctx: Count
    speculative: bool
    is_processing: bool
    n_prompt_tokens: Count
    id_task: Count | UnsetType = UNSET
    n_prompt_tokens_processed: Count | UnsetType = UNSET
    n_prompt_tokens_cache: Count | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    next_token: list[NextToken] | UnsetType = UNSET


class SlotFileBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /slots/{id_slot}; not needed to erase."""

    filename: str | None = None
    model: Annotated[str, Meta(min_length=1)] | None = None


class SlotMovedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /slots/{id_slot}: tokens and bytes saved, restored or erased."""

    id_slot: Count
    filename: str | UnsetType = UNSET
    n_saved: Count | UnsetType = UNSET
    n_written: Count | UnsetType = UNSET
    n_restored: Count | UnsetType = UNSET
    n_read: Count | UnsetType = UNSET
    n_erased: Count | UnsetType = UNSET
    timings: dict[str, float] | UnsetType = UNSET
