"""The documents of /v1, as OpenAI has them and llama-server extends them."""

from typing import Annotated

from msgspec import Meta

from server.api.schema_chat import ChatFields


class ChatCompletionBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    stream: bool | None = None
