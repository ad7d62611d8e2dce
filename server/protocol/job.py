"""Job: a request independent of dialect and model; every handler converts its body to one."""

from typing import Any, Final, Literal

import msgspec

from llamabind import SamplingParams

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The levels of reasoning that chat templates know."""


def instead_of_file(reason: str) -> dict[str, Any]:
    """The content part that takes the place of a file in a tool's result."""
    return {"type": "text", "text": f"[a file is left out: {reason}]"}


class ToolForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a client named a tool that the model calls as a function: a custom tool's call has a text
    in place of arguments, and a tool of a namespace has both names.
    """

    kind: Literal["function", "custom"]
    name: str
    namespace: str | None = None


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="chat"):
    """A conversation in OpenAI's form of messages and tools.

    A content may be a list of parts: {"type": "text", "text"}, and {"type": "media", "data",
    "param"} with the bytes of an image or audio file, and the request's field that it is from. The
    other fields are options of llamabind's ChatTemplate.render; None is the template's default.
    `warnings` name parts of the request that are ignored, such as tools that are not functions.
    `tool_forms` are those of tools that are not plain functions, by the name that the model calls.
    Both are for the server, not the worker.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    json_schema: dict[str, Any] | None = None
    lenient_schema: bool | None = None
    reasoning_format: str | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | str | None = None
    warnings: tuple[str, ...] = ()
    tool_forms: dict[str, ToolForm] = {}


class TextPrompt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    """A text to continue, or token ids, or a mix of both; with `echo` the answer begins with it.

    Between texts there may be images and audio, in the form of a chat's content parts. Parts of
    `json_schema` that have no grammar are ignored with a warning.
    """

    content: str | tuple[int | str | dict[str, Any], ...]
    json_schema: dict[str, Any] | None = None
    echo: bool = False


class InfillExtra(msgspec.Struct, frozen=True, kw_only=True):
    """Another file of the project; models with a token for it get the `filename` too."""

    text: str
    filename: str | None = None


class InfillPrompt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="infill"):
    """Text to fill in between `prefix` and `suffix`; it begins with `content`."""

    prefix: str | tuple[int | str, ...]
    suffix: str | tuple[int | str, ...]
    content: str = ""
    extra: tuple[InfillExtra, ...] = ()
    json_schema: dict[str, Any] | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt and the parameters of its answers.

    Fields of llamabind's GenerationRequest have the same meaning here. `logit_bias` may name tokens
    by a text, which applies to all tokens of the text. `lora` has the scales of the model's
    adapters by their index; adapters that it does not name get 0. The `n` answers share one prompt.
    `return_progress` requests outputs during prefill, `return_tokens` the ids of generated tokens,
    `return_prompt` the prompt's tokens as text, `end_logprob` an entry of the `logprobs` for the
    token that ends the answer, as llama-server's completions have it. `ignored` are warnings about
    parts of the request that were left out, beside the prompt's. `given_sampling` names the fields
    of `sampling` that the request sets; the model's defaults apply to the others, and to none if it
    is None.
    """

    prompt: ChatPrompt | TextPrompt | InfillPrompt
    sampling: SamplingParams = msgspec.field(default_factory=SamplingParams)
    n: int = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int | str, float], ...] = ()
    logprobs: int | None = None
    end_logprob: bool = False
    prompt_logprobs: int | None = None
    post_sampling_probs: bool = False
    return_progress: bool = False
    return_tokens: bool = False
    return_prompt: bool = False
    cache_prompt: bool = True
    id_slot: int | None = None
    lora: dict[int, float] | None = None
    n_keep: int = 0
    n_discard: int = 0
    timings_per_token: bool = False
    t_max_predict_ms: int | None = None
    caller: str = ""
    priority: int = 0
    max_queue_seconds: float | None = None
    ignored: tuple[str, ...] = ()
    given_sampling: tuple[str, ...] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Parts of the request that were ignored when the job was made."""
        of_prompt = self.prompt.warnings if isinstance(self.prompt, ChatPrompt) else ()
        return (*of_prompt, *self.ignored)

    @property
    def tool_forms(self) -> dict[str, ToolForm]:
        """The forms of the request's tools that are not plain functions."""
        return self.prompt.tool_forms if isinstance(self.prompt, ChatPrompt) else {}

    @property
    def grammar_param(self) -> str:
        """The request's field that the grammar of the answers is made from."""
        prompt = self.prompt
        if self.sampling.grammar:
            return "grammar"
        if isinstance(prompt, ChatPrompt) and prompt.tools and prompt.tool_choice != "none":
            return "tools"
        return "grammar" if prompt.json_schema is None else "json_schema"
