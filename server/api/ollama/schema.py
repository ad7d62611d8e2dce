"""Requests and answers of Ollama's API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.ollama.durations import KeepAlive, keep_seconds
from server.api.ollama.options import Options
from server.api.schema.chat_tools import ToolEntry
from server.api.schema.messages import CalledName, Role
from server.api.schema.sampling import LogprobCount
from server.errors import InvalidRequestError
from server.protocol.job import EFFORTS

ModelName = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Format = Literal["", "json"] | dict[str, Any]
Think = bool | str


class CalledFunction(msgspec.Struct, frozen=True):
    """A called function with its arguments as an object, or as JSON."""

    name: CalledName | None = None
    arguments: Any = None


class CalledTool(msgspec.Struct, frozen=True):
    """A tool call by the assistant."""

    function: CalledFunction
    id: str | None = None


class OllamaMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Role
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
    def thinks(self) -> bool | None:
        """Whether reasoning is turned on or off; None leaves it to the template."""
        if isinstance(self.think, str):
            return self.think != "none" if self.think in EFFORTS else None
        return self.think

    @property
    def effort(self) -> str | None:
        """The level of reasoning, if one is named that templates know."""
        return self.think if isinstance(self.think, str) and self.think in EFFORTS else None

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
    """The body of POST /api/generate; without a prompt the model is only loaded, or unloaded.

    With a `suffix` the answer is the text between the prompt and it.
    """

    prompt: str | None = None
    system: str | None = None
    suffix: str | None = None
    template: str | None = None
    images: list[str] | None = None
    raw: bool | None = None
    context: Any = None


class EmbedBody(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /api/embed; without an input the model is only loaded.

    An input that is too long is truncated, unless `truncate` is false.
    """

    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=0)] | None = None


class OllamaEmbeddingsBody(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /api/embeddings, the older form; without a prompt the model is only
    loaded.
    """

    prompt: str | None = None


class ShowBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /api/show; `name` is the older name of `model`."""

    model: ModelName | None = None
    name: ModelName | None = None


class PullBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /api/pull; `name` is the older name of `model`."""

    model: ModelName | None = None
    name: ModelName | None = None
    stream: bool | None = None
    insecure: bool | None = None

    @property
    def named(self) -> str:
        """The model's name. Raises InvalidRequestError if it is missing."""
        return _named(self.model, self.name)


class DeleteBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of DELETE /api/delete; `name` is the older name of `model`."""

    model: ModelName | None = None
    name: ModelName | None = None

    @property
    def named(self) -> str:
        """The model's name. Raises InvalidRequestError if it is missing."""
        return _named(self.model, self.name)


def _named(model: str | None, name: str | None) -> str:
    if wanted := model or name:
        return wanted
    raise InvalidRequestError("field 'model' is required", param="model")


class OllamaStatus(msgspec.Struct):
    """The end of a pull, and the lines before it, with the bytes of one file."""

    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    completed: int | UnsetType = UNSET


class OllamaAnswer(msgspec.Struct):
    """A whole answer, or the last line of a stream; durations are in nanoseconds."""

    model: str
    created_at: str
    done: bool


class OllamaModels(msgspec.Struct):
    """The models on disk, or in memory."""

    models: list[dict[str, Any]]


class OllamaModel(msgspec.Struct):
    """A model; `model_info` has the metadata of its GGUF header, arrays as null."""

    modified_at: str
    modelfile: str
    parameters: str
    template: str
    template_source: Literal["gguf_chat_template", "none"]
    details: dict[str, Any]
    model_info: dict[str, Any]
    capabilities: list[str]
    license: str | UnsetType = UNSET
    thinking: dict[str, Any] | UnsetType = UNSET


class OllamaVectors(msgspec.Struct):
    """An embedding for each input."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaVector(msgspec.Struct):
    """The embedding of a prompt, in the older form: not scaled to length 1."""

    embedding: list[float]


class VersionDocument(msgspec.Struct):
    """The version of Ollama whose API this is, and the version of this server."""

    version: str
    llamabind: str


class OllamaError(msgspec.Struct):
    """The body of every error answer; `param` names the field at fault."""

    error: str
    param: str | None
    code: str | None
