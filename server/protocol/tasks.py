"""Task: what a model does for a request besides generating, each answered once and whole."""

from typing import Any, TypeAlias

import msgspec

from server.protocol.job import Job


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """Tell the tokens of `content`: a text, or pieces that are texts or tokens already.

    `add_special` adds BOS and its like where the model has it so; `parse_special` reads control
    tokens written in the text; `with_pieces` asks for each token's bytes.
    """

    content: str | tuple[int | str, ...]
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    """Tell the text of tokens, special ones written out."""

    tokens: tuple[int, ...]


class Render(msgspec.Struct, frozen=True, tag="render"):
    """Tell the prompt that a job's conversation becomes, and its length; nothing is generated."""

    job: Job


class Embed(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Compute a vector for each input, a text or token ids; `normalize` makes it of length 1."""

    inputs: tuple[str | tuple[int, ...], ...]
    normalize: bool = True


class Rank(msgspec.Struct, frozen=True, kw_only=True, tag="rank"):
    """Score each document by its relevance to the query."""

    query: str
    documents: tuple[str, ...]


class ListSlots(msgspec.Struct, frozen=True, tag="list_slots"):
    """Tell what every sequence id holds and what runs in it."""


class ListAdapters(msgspec.Struct, frozen=True, tag="list_adapters"):
    """Tell the LoRA adapters and their scales."""


class SetAdapters(msgspec.Struct, frozen=True, tag="set_adapters"):
    """Apply the adapters with these scales, by their place; those that are not named get 0."""

    scales: dict[int, float]


class SaveSlot(msgspec.Struct, frozen=True, tag="save_slot"):
    """Write what a sequence id keeps into the file `path`, which whoever sends this has checked."""

    slot: int
    path: str


class RestoreSlot(msgspec.Struct, frozen=True, tag="restore_slot"):
    """Have a sequence id keep what the file `path` has."""

    slot: int
    path: str


class EraseSlot(msgspec.Struct, frozen=True, tag="erase_slot"):
    """Forget what a sequence id keeps."""

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
    """Answers Tokenize; `pieces` only if they were asked for."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...] = ()


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Answers Detokenize; bytes that are no UTF-8 are U+FFFD."""

    text: str


class Rendered(msgspec.Struct, frozen=True, kw_only=True, tag="rendered"):
    """Answers Render; `warnings` as in protocol.Warned."""

    prompt: str
    n_tokens: int
    warnings: tuple[str, ...] = ()


class Vectors(msgspec.Struct, frozen=True, kw_only=True, tag="vectors"):
    """Answers Embed: each vector as 32-bit floats, little endian; and each input's tokens."""

    vectors: tuple[bytes, ...]
    n_tokens: tuple[int, ...]


class Scores(msgspec.Struct, frozen=True, kw_only=True, tag="scores"):
    """Answers Rank: higher is more relevant; `n_tokens` of all pairs together."""

    scores: tuple[float, ...]
    n_tokens: int


class SlotRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What runs in a slot. Tokens: of the prompt `n_computed` are there, `n_cached` of them reused;
    `n_remain` may be generated still. `settings` are those of generation_settings.
    """

    id: int
    n_prompt: int
    n_computed: int
    n_cached: int
    n_generated: int
    n_remain: int
    settings: dict[str, Any]


class SlotInfo(msgspec.Struct, frozen=True):
    """A sequence id: how many tokens it holds, and what runs in it."""

    id: int
    n_tokens: int
    request: SlotRequest | None = None


class SlotList(msgspec.Struct, frozen=True, tag="slots"):
    """Answers ListSlots."""

    slots: tuple[SlotInfo, ...]


class AdapterInfo(msgspec.Struct, frozen=True):
    """An adapter's file, how much of it is applied, and what the file says it is for."""

    name: str
    scale: float
    task_name: str
    prompt_prefix: str


class AdapterList(msgspec.Struct, frozen=True, tag="adapters"):
    """Answers ListAdapters and SetAdapters."""

    adapters: tuple[AdapterInfo, ...]


class SlotMoved(msgspec.Struct, frozen=True, tag="slot_moved"):
    """Answers SaveSlot, RestoreSlot and EraseSlot; the file's bytes, if there is one."""

    n_tokens: int
    n_bytes: int = 0
    milliseconds: float = 0.0


TaskResult: TypeAlias = (
    Tokens | Text | Rendered | Vectors | Scores | SlotList | AdapterList | SlotMoved
)
