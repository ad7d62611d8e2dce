"""Requests and answers of Ollama's API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.ollama.keep_alive import KeepAlive, keep_seconds
from server.api.schema.messages import FunctionName, ToolEntry
from server.api.schema.sampling import LogprobCount, SamplingFields

ModelName = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Format = Literal["", "json"] | dict[str, Any]
Think = bool | Literal["low", "medium", "high", "max"]


class Options(SamplingFields, frozen=True, kw_only=True):
    """Sampling and limits; settings of a load, such as num_ctx, are ignored."""

    num_predict: Annotated[int, Meta(ge=-2, le=2**31 - 1)] | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of a Job. Raises InvalidRequestError, InvalidParameterError."""
        self.refuse_several("options.")
        fields = self.job_fields()
        if self.num_predict is not None:
            fields["max_tokens"] = None if self.num_predict < 0 else self.num_predict
        return fields


class CalledFunction(msgspec.Struct, frozen=True):
    """A called function with its arguments as an object."""

    name: FunctionName
    arguments: dict[str, Any]


class CalledTool(msgspec.Struct, frozen=True):
    """A tool call by the assistant."""

    function: CalledFunction
    id: str | None = None


class OllamaMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that all requests for a model share."""

    model: ModelName
    keep_alive: KeepAlive | None = None

    def __post_init__(self) -> None:
        self.keep_seconds  # noqa: B018 - raises for a wrong value while the body is parsed

    @property
    def keep_seconds(self) -> float | None:
        """Seconds that the idle model stays in memory; None if not given. Raises
        InvalidParameterError.
        """
        return None if self.keep_alive is None else keep_seconds(self.keep_alive)


class AnswerRequest(ModelRequest, frozen=True, kw_only=True):
    """Fields that chat and generate share; the answer is streamed unless `stream` is false."""

    stream: bool | None = None
    format: Format | None = None
    options: Options | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: LogprobCount | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is streamed."""
        return self.stream is not False

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must follow, or None."""
        if self.format == "json":
            return {"type": "object"}
        return self.format if isinstance(self.format, dict) else None


class OllamaChatBody(AnswerRequest, frozen=True, kw_only=True):
    """The body of POST /api/chat; without messages the model is only loaded, or unloaded."""

    messages: list[OllamaMessage] | None = None
    tools: list[ToolEntry] | None = None


class GenerateBody(AnswerRequest, frozen=True, kw_only=True):
    """The body of POST /api/generate; without a prompt the model is only loaded, or unloaded."""

    prompt: str | None = None
    system: str | None = None
    suffix: str | None = None
    template: str | None = None
    images: list[str] | None = None
    raw: bool | None = None


class EmbedBody(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /api/embed."""

    input: str | list[str]
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class ShowBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /api/show."""

    model: ModelName


class OllamaAnswer(msgspec.Struct):
    """A whole answer, or the last line of a stream; durations are in nanoseconds."""

    model: str
    created_at: str
    done: bool


class OllamaModels(msgspec.Struct):
    """The models on disk, or in memory."""

    models: list[dict[str, Any]]


class OllamaModel(msgspec.Struct):
    """A model; `model_info` has the metadata of its GGUF header."""

    modified_at: str
    template: str
    details: dict[str, Any]
    model_info: dict[str, Any]
    capabilities: list[str]


class OllamaVectors(msgspec.Struct):
    """An embedding for each input."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    prompt_eval_count: int


class VersionDocument(msgspec.Struct):
    """The version of this server."""

    version: str


class OllamaError(msgspec.Struct):
    """The body of every error answer; `param` names the field at fault."""

    error: str
    param: str | None
    code: str | None
