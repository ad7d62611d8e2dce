"""Task: requests to a model other than generation, each with one result."""

from typing import Any, TypeAlias

import msgspec

from server.protocol.job import Job


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """Tokenise `content`: a text, or a mix of texts and tokens.

    `add_special` adds BOS and the like if the model uses them; `parse_special` parses control
    tokens that are written in the text; `with_pieces` requests the bytes of each token.
    """

    content: str | tuple[int | str, ...]
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    """Convert tokens to text, with special tokens written out."""

    tokens: tuple[int, ...]


class Render(msgspec.Struct, frozen=True, tag="render"):
    """Render a job's conversation to a prompt and count its tokens; generates nothing."""

    job: Job


class Embed(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Compute a vector for each input: a text, token ids, or both mixed.

    `normalize` scales it to length 1. With `of_tokens` a model whose pooling is "none" gives a
    vector for each token, which are never scaled; otherwise it refuses. With `truncate` an input
    that is too long is cut off; otherwise it is an error.
    """

    inputs: tuple[str | tuple[int | str, ...], ...]
    normalize: bool = True
    truncate: bool = False
    of_tokens: bool = False


class Rank(msgspec.Struct, frozen=True, kw_only=True, tag="rank"):
    """Score each document by its relevance to the query."""

    query: str
    documents: tuple[str, ...]


class ListSlots(msgspec.Struct, frozen=True, tag="list_slots"):
    """List the slots: the tokens and the running request of each sequence id."""


class ListAdapters(msgspec.Struct, frozen=True, tag="list_adapters"):
    """List the LoRA adapters and their scales."""


class SetAdapters(msgspec.Struct, frozen=True, tag="set_adapters"):
    """Apply adapters with these scales, by their index; adapters that are not named get 0."""

    scales: dict[int, float]


class SaveSlot(msgspec.Struct, frozen=True, tag="save_slot"):
    """Save the state of a slot to the file `path`, which the sender has checked."""

    slot: int
    path: str


class RestoreSlot(msgspec.Struct, frozen=True, tag="restore_slot"):
    """Restore the state of a slot from the file `path`."""

    slot: int
    path: str


class EraseSlot(msgspec.Struct, frozen=True, tag="erase_slot"):
    """Drop the state of a slot."""

    slot: int


Task: TypeAlias = (
    Tokenize
    | Detokenize
    | Render
    | Embed
    | Rank
    | ListSlots
    | ListAdapters
    | SetAdapters
    | SaveSlot
    | RestoreSlot
    | EraseSlot
)


class Tokens(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    """The result of Tokenize; `pieces` only with `with_pieces`."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...] = ()


class Text(msgspec.Struct, frozen=True, tag="text"):
    """The result of Detokenize; invalid UTF-8 becomes U+FFFD."""

    text: str


class Rendered(msgspec.Struct, frozen=True, kw_only=True, tag="rendered"):
    """The result of Render; `warnings` as in Prepared."""

    prompt: str
    n_tokens: int
    warnings: tuple[str, ...] = ()


class Vectors(msgspec.Struct, frozen=True, kw_only=True, tag="vectors"):
    """The result of Embed: each vector as little-endian 32-bit floats; tokens of each input.

    If `are_of_tokens`, an input has a vector for each of its tokens, one after the other.
    """

    vectors: tuple[bytes, ...]
    n_tokens: tuple[int, ...]
    are_of_tokens: bool = False


class Scores(msgspec.Struct, frozen=True, kw_only=True, tag="scores"):
    """The result of Rank: higher is more relevant; `n_tokens` of all pairs together."""

    scores: tuple[float, ...]
    n_tokens: int


class SlotRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request that runs in a slot: `n_computed` tokens of its prompt are in the KV cache,
    `n_cached` of them reused; `n_remain` more may be generated. `settings` are brief_settings.
    """

    id: int
    n_prompt: int
    n_computed: int
    n_cached: int
    n_generated: int
    n_remain: int
    settings: dict[str, Any]


class SlotInfo(msgspec.Struct, frozen=True):
    """A slot: its sequence id, the number of tokens it holds, and the request that runs in it."""

    id: int
    n_tokens: int
    request: SlotRequest | None = None


class SlotList(msgspec.Struct, frozen=True, tag="slots"):
    """The result of ListSlots."""

    slots: tuple[SlotInfo, ...]


class AdapterInfo(msgspec.Struct, frozen=True):
    """An adapter's file name, its scale, and the task name and prompt prefix from the file."""

    name: str
    scale: float
    task_name: str
    prompt_prefix: str


class AdapterList(msgspec.Struct, frozen=True, tag="adapters"):
    """The result of ListAdapters and SetAdapters."""

    adapters: tuple[AdapterInfo, ...]


class SlotMoved(msgspec.Struct, frozen=True, tag="slot_moved"):
    """The result of SaveSlot, RestoreSlot and EraseSlot; `n_bytes` is the size of the file."""

    n_tokens: int
    n_bytes: int = 0
    milliseconds: float = 0.0


TaskResult: TypeAlias = (
    Tokens | Text | Rendered | Vectors | Scores | SlotList | AdapterList | SlotMoved
)
