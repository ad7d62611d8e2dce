"""docs/fields.md has a row for every field that llama-server and the clients' own types know."""

import re
from typing import Any

import ollama._types as ollama
import pytest
from anthropic.types import (
    AssistantMessageParam,
    Base64ImageSourceParam,
    ImageBlockParam,
    OutputConfigParam,
    SystemMessageParam,
    TextBlockParam,
    ThinkingBlockParam,
    ThinkingConfigAdaptiveParam,
    ThinkingConfigEnabledParam,
    ToolChoiceToolParam,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlockParam,
    URLImageSourceParam,
    UserMessageParam,
)
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from llama_source import llama_cpp_source
from openai.types import EmbeddingCreateParams
from openai.types.chat import (
    ChatCompletionAllowedToolChoiceParam,
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartInputAudioParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionStreamOptionsParam,
    ChatCompletionToolMessageParam,
)
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase as TextParams
from openai.types.responses import (
    FunctionToolParam,
    ResponseFunctionToolCallParam,
    ResponseInputImageParam,
    ResponseReasoningItemParam,
    ResponseTextConfigParam,
    ToolChoiceAllowedParam,
    ToolChoiceFunctionParam,
)
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.shared_params import FunctionDefinition, Reasoning
from openai.types.shared_params.response_format_json_schema import JSONSchema

from tests.support.field_tables import read_sections

pytestmark = pytest.mark.native

_SECTIONS = read_sections()
_GROUPS = ("Sampling fields", "Chat fields")
_SCHEMA_FIELD = re.compile(r'new field_\w+\("([\w.]+)"|add_alias\("(\w+)"\)')
_BODY_FIELD = re.compile(r'\b(?:body|data|request)(?:\.at|\.contains|\.count)\("(\w+)"\)')
_BODY_VALUE = re.compile(r'json_value\((?:body|data|request), *"(\w+)"')
_HANDLERS = ("server-common.cpp", "server-chat.cpp", "server-context.cpp")
# Entries that its own code adds to a request's body, and a field of
# /v1/chat/completions/control, which this server does not have.
_NOT_HERE = {"__metadata_user_id", "message_delimiters", "action"}
# These tell which kind of struct an object is; inside other fields they need no row.
_KINDS = {"type", "role"}

_CLIENTS: list[tuple[str, str, Any]] = [
    ("Chat by OpenAI", "", ChatParams),
    ("Chat by OpenAI", "stream_options.", ChatCompletionStreamOptionsParam),
    ("Chat by OpenAI", "messages[].", ChatCompletionAssistantMessageParam),
    ("Chat by OpenAI", "messages[].", ChatCompletionToolMessageParam),
    ("Chat by OpenAI", "messages[].content[].", ChatCompletionContentPartImageParam),
    ("Chat by OpenAI", "messages[].content[].", ChatCompletionContentPartInputAudioParam),
    ("Chat by OpenAI", "tools[].", ChatCompletionFunctionToolParam),
    ("Chat by OpenAI", "tools[].function.", FunctionDefinition),
    ("Chat by OpenAI", "tool_choice.", ChatCompletionAllowedToolChoiceParam),
    ("Chat by OpenAI", "tool_choice.", ChatCompletionNamedToolChoiceParam),
    ("Chat by OpenAI", "response_format.json_schema.", JSONSchema),
    ("Completions by OpenAI", "", TextParams),
    ("Embeddings by OpenAI", "", EmbeddingCreateParams),
    ("Responses by OpenAI", "", ResponseCreateParamsBase),
    ("Responses by OpenAI", "tools[].", FunctionToolParam),
    ("Responses by OpenAI", "tool_choice.", ToolChoiceAllowedParam),
    ("Responses by OpenAI", "tool_choice.", ToolChoiceFunctionParam),
    ("Responses by OpenAI", "text.", ResponseTextConfigParam),
    ("Responses by OpenAI", "reasoning.", Reasoning),
    ("Responses by OpenAI", "input[].", ResponseFunctionToolCallParam),
    ("Responses by OpenAI", "input[].", ResponseReasoningItemParam),
    ("Responses by OpenAI", "input[].content[].", ResponseInputImageParam),
    ("Token count of a response by OpenAI", "", InputTokenCountParams),
    ("Messages by Anthropic", "", MessageCreateParamsBase),
    ("Messages by Anthropic", "messages[].", AssistantMessageParam),
    ("Messages by Anthropic", "messages[].", SystemMessageParam),
    ("Messages by Anthropic", "messages[].", UserMessageParam),
    ("Messages by Anthropic", "messages[].content[].", TextBlockParam),
    ("Messages by Anthropic", "messages[].content[].", ImageBlockParam),
    ("Messages by Anthropic", "messages[].content[].source.", Base64ImageSourceParam),
    ("Messages by Anthropic", "messages[].content[].source.", URLImageSourceParam),
    ("Messages by Anthropic", "messages[].content[].", ThinkingBlockParam),
    ("Messages by Anthropic", "messages[].content[].", ToolUseBlockParam),
    ("Messages by Anthropic", "messages[].content[].", ToolResultBlockParam),
    ("Messages by Anthropic", "tools[].", ToolParam),
    ("Messages by Anthropic", "tool_choice.", ToolChoiceToolParam),
    ("Messages by Anthropic", "thinking.", ThinkingConfigEnabledParam),
    ("Messages by Anthropic", "thinking.", ThinkingConfigAdaptiveParam),
    ("Messages by Anthropic", "output_config.", OutputConfigParam),
    ("Token count of messages by Anthropic", "", MessageCountTokensParams),
    ("Chat by Ollama", "", ollama.ChatRequest),
    ("Chat by Ollama", "options.", ollama.Options),
    ("Chat by Ollama", "messages[].", ollama.Message),
    ("Chat by Ollama", "messages[].tool_calls[].", ollama.Message.ToolCall),
    ("Chat by Ollama", "tools[].", ollama.Tool),
    ("Generate by Ollama", "", ollama.GenerateRequest),
    ("Embeddings by Ollama", "", ollama.EmbedRequest),
    ("Embedding of one text by Ollama", "", ollama.EmbeddingsRequest),
    ("Model details by Ollama", "", ollama.ShowRequest),
]


def _described(title: str) -> set[str]:
    """The fields with a row in a section, and those of the groups that it names."""
    section = _SECTIONS[title]
    groups = [group for group in _GROUPS if f"[{group.lower()}]" in section.prose.lower()]
    names = section.names().union(*(_SECTIONS[group].names() for group in groups))
    # Ollama's `options` hold the sampling fields.
    return names | {f"options.{name}" for name in _SECTIONS[_GROUPS[0]].names()}


@pytest.mark.parametrize(
    ("title", "prefix", "kind"), _CLIENTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_every_field_of_a_client_has_a_row(title: str, prefix: str, kind: Any) -> None:
    names = getattr(kind, "model_fields", None) or kind.__annotations__
    paths = {prefix + name.removesuffix("_") for name in names if name not in _KINDS or not prefix}
    assert paths - _described(title) == set()


def test_every_field_of_llama_servers_schema_has_a_row() -> None:
    source = (llama_cpp_source() / "tools" / "server" / "server-schema.cpp").read_text()
    fields = {name or alias for name, alias in _SCHEMA_FIELD.findall(source)}
    assert len(fields) > 80
    described = _described("Chat by OpenAI") | _described("Completions by llama-server")
    assert fields - described - {"include_usage"} == set()


@pytest.mark.parametrize("name", _HANDLERS)
def test_every_field_that_llama_server_reads_has_a_row(name: str) -> None:
    source = (llama_cpp_source() / "tools" / "server" / name).read_text()
    fields = {*_BODY_FIELD.findall(source), *_BODY_VALUE.findall(source)}
    assert len(fields) > 5
    described = {path.split(".")[-1] for section in _SECTIONS.values() for path in section.names()}
    assert fields - described - _NOT_HERE == set()
