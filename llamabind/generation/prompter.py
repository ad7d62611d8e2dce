"""Prompter: turns prompts and conversations into requests that an engine can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeGuard

from llamabind.chat.control_tokens import ControlTokenGuard
from llamabind.chat.media_markers import insert_markers, split_at_markers
from llamabind.checks import check_int
from llamabind.errors import (
    ChatTemplateError,
    GrammarError,
    InvalidParameterError,
    PromptTooLongError,
)
from llamabind.generation.answer_masks import (
    AnswerMasks,
    AnswerSchema,
    begun_answer,
    callable_tools,
    must_call,
)
from llamabind.generation.options import REQUEST_OPTIONS, SCHEMA_OPTIONS, TEMPLATE_OPTIONS
from llamabind.generation.reasoning import is_without_reasoning, reasoning_tags
from llamabind.media.medium import lay_out
from llamabind.request import GenerationRequest
from llamabind.sampling.params import RANDOM_SEED, SamplingParams
from llamabind.schema.fitting import FittedSchemas, KnownFits, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llamabind.chat.output_parser import OutputParser
    from llamabind.chat.template import ChatTemplate, RenderedPrompt
    from llamabind.media.medium import EncodedMedium, Medium
    from llamabind.native.tokenizer import Tokenizer

Message = Mapping[str, Any]
Conversation = Sequence[Message]
Prompt = str | Sequence[int] | Sequence[int | str]

MAX_ANSWERS = 128

NO_TEMPLATE = (
    "the model has no chat template, so conversations are written as ChatML, "
    "which the model may not understand"
)

_MEDIUM_TEXT = "<__media__>"
"""The marker that llama.cpp's tools write in place of an image or audio."""

_CHARACTERS_PER_TOKEN = 16
"""Texts with at most this many characters for each token of the context are tokenised without a
check of their length. The check needs the longest piece of the vocabulary, and finding it takes as
long as tokenising a long prompt.
"""


@dataclass(frozen=True, slots=True)
class PromptRequests:
    """The requests of one prompt, one for each answer, and the parser for a chat's answers.

    `warnings` name what is ignored, such as schema keywords that no grammar can express.
    """

    requests: tuple[GenerationRequest, ...]
    make_parser: Callable[[], OutputParser] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def request(self) -> GenerationRequest:
        """The request of the first answer."""
        return self.requests[0]

    @property
    def only_request(self) -> GenerationRequest:
        """The request of a prompt with one answer; InvalidParameterError if it has several."""
        if len(self.requests) > 1:
            raise InvalidParameterError(
                "n", "a stream has one answer; call stream() once for each answer"
            )
        return self.requests[0]


@dataclass(frozen=True, slots=True)
class RenderedText:
    """A conversation as the prompt that the model gets."""

    text: str
    tokens: tuple[int, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A rendered prompt, split at media and inside texts that only look like control tokens."""

    rendered: RenderedPrompt
    parts: list[str | EncodedMedium]
    warnings: tuple[str, ...]


class Prompter:
    """Renders and tokenises prompts, and numbers the requests. Any thread."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        n_ctx: int,
        check_grammar: Callable[[SamplingParams], None] | None = None,
    ) -> None:
        """`check_grammar` raises GrammarError for a grammar that a sampler would refuse."""
        self._tokenizer = tokenizer
        self._template = template
        self.n_ctx = n_ctx
        self._check_grammar = check_grammar
        self._masks = AnswerMasks(tokenizer)
        self._fits = KnownFits()
        self._ids = count(1)
        self._guard: ControlTokenGuard | None = None

    def prepare(
        self,
        prompt: Prompt | Conversation,
        params: SamplingParams | None,
        options: Mapping[str, Any],
    ) -> PromptRequests:
        """Return the requests for a prompt or a conversation.

        A text gets the special tokens that the vocabulary adds (BOS), and special tokens spelled
        out in it become special tokens, as in llama-server's completions; a prompt may also be a
        list of texts and token ids. In a conversation only special tokens of the template count,
        not those in messages: see ControlTokenGuard. Contents may have parts of type "media", whose
        `medium` is an EncodedMedium of the model's projector and whose `param` names the part in
        errors. Raises PromptTooLongError, InvalidParameterError, TokenizeError or
        ChatTemplateError.
        """
        params = params or SamplingParams()
        options = dict(options)
        n = options.pop("n", 1)
        check_int("n", n, 1, MAX_ANSWERS)
        render_options = {key: options.pop(key) for key in TEMPLATE_OPTIONS & options.keys()}
        schema_options = {key: options.pop(key) for key in SCHEMA_OPTIONS & options.keys()}
        schema = AnswerSchema.of(schema_options, params)
        for unknown in sorted(options.keys() - REQUEST_OPTIONS):
            raise InvalidParameterError(unknown, "unknown option")
        if is_conversation(prompt):
            return self._prepare_chat(prompt, params, options, n, render_options, schema)
        for unknown in sorted(render_options):
            raise InvalidParameterError(
                unknown, "this option is for conversations, not for prompts"
            )
        parts: Any = [prompt] if isinstance(prompt, str) else prompt
        tokens = self._encode(parts)
        warnings: tuple[str, ...] = ()
        if schema is not None:
            options["mask"], warnings = self._masks.of_text(schema)
        return PromptRequests(self._requests(tokens, params, options, n), warnings=warnings)

    def _prepare_chat(
        self,
        messages: Conversation,
        params: SamplingParams,
        options: dict[str, Any],
        n: int,
        render_options: Mapping[str, Any],
        schema: AnswerSchema | None,
    ) -> PromptRequests:
        template = self._require_template()
        if params.grammar:
            render_options = {**render_options, "grammar": params.grammar}
        rendering = self._render_fitted(messages, render_options, params)
        rendered = rendering.rendered
        tokens, options["media"] = self._lay_out(rendering.parts)
        options["template_stop"] = rendered.stops
        options["reasoning_tags"] = reasoning_tags(rendered, render_options)
        options["preserved_tokens"] = self._preserved(rendered)
        params = _as_rendered(params, rendered)
        if is_without_reasoning(render_options):
            params = _ending_reasoning(params)
        warnings = rendering.warnings
        if schema is not None and not must_call(render_options):
            tools = callable_tools(render_options)
            begun = begun_answer(messages, render_options)
            options["mask"], more = self._masks.of_chat(schema, template, rendered, tools, begun)
            warnings = (*more, *warnings)
        requests = self._requests(tokens, params, options, n)
        return PromptRequests(requests, lambda: template.parser(rendered), warnings)

    def render(self, messages: Conversation, render_options: Mapping[str, Any]) -> RenderedText:
        """Return the prompt for a conversation, even if its tokens do not fit the context.

        Raises ChatTemplateError, and PromptTooLongError if the text is too long to tokenise.
        """
        options = {k: v for k, v in render_options.items() if k not in SCHEMA_OPTIONS}
        schema = AnswerSchema.of(render_options, None)
        warnings = () if schema is None or must_call(options) else schema.warnings
        rendering = self._render_fitted(messages, options, None)
        parts = rendering.parts
        text = "".join(part if isinstance(part, str) else _MEDIUM_TEXT for part in parts)
        return RenderedText(text, self._lay_out(parts)[0], (*warnings, *rendering.warnings))

    def check_grammar(self, params: SamplingParams) -> None:
        """Raise GrammarError if a sampler would refuse the grammar of these parameters."""
        if self._check_grammar is not None and params.grammar:
            self._check_grammar(params)

    def _render_fitted(
        self,
        messages: Conversation,
        render_options: Mapping[str, Any],
        params: SamplingParams | None,
    ) -> _Rendering:
        """Render; weaken lenient schemas step by step until a grammar can be built for them.

        With `params` None nothing will be generated, so the grammar is not checked.
        """
        key = key_of(render_options)
        levels = self._fits.find(key)
        schemas = FittedSchemas(render_options, levels or ())
        while True:
            try:
                rendered, parts = self._render(messages, schemas.options)
                if params is not None and schemas.is_lenient and levels is None:
                    self.check_grammar(_as_rendered(params, rendered))
                    self._fits.keep(key, schemas.levels)
            except (InvalidParameterError, GrammarError) as error:
                if not schemas.weaken(error):
                    raise
                levels = None
            else:
                return _Rendering(rendered, parts, self._warnings(schemas))

    def _warnings(self, schemas: FittedSchemas) -> tuple[str, ...]:
        template = self._require_template()
        return schemas.warnings if template.is_explicit else (*schemas.warnings, NO_TEMPLATE)

    def _render(
        self, messages: Conversation, render_options: Mapping[str, Any]
    ) -> tuple[RenderedPrompt, list[str | EncodedMedium]]:
        marked, media = insert_markers(messages)
        guarded, mark = self._guarded(marked)
        rendered = self._require_template().render(guarded, **render_options)
        parts: list[str | EncodedMedium] = []
        for part in split_at_markers(rendered.prompt, media):
            if isinstance(part, str) and mark:
                parts += part.split(mark)
            else:
                parts.append(part)
        return rendered, parts

    def _require_template(self) -> ChatTemplate:
        if self._template is None:
            raise ChatTemplateError("conversations need a model that generates text")
        return self._template

    def _requests(
        self, tokens: tuple[int, ...], params: SamplingParams, options: Mapping[str, Any], n: int
    ) -> tuple[GenerationRequest, ...]:
        if len(tokens) >= self.n_ctx:
            raise PromptTooLongError(len(tokens), self.n_ctx)
        fields = {**options, "stop": _stops(options)}
        fields["logits_processors"] = tuple(options.get("logits_processors", ()))
        return tuple(
            GenerationRequest(
                request_id=str(next(self._ids)),
                prompt_tokens=tokens,
                sampling=_nth_seed(params, index),
                **fields,
            )
            for index in range(n)
        )

    def _guarded(self, messages: Conversation) -> tuple[Conversation, str]:
        self._check_size(
            len(content)
            for message in messages
            if isinstance(content := message.get("content"), str)
            and message.get("role") != "assistant"  # templates may drop its reasoning
        )
        if self._guard is None:
            self._guard = ControlTokenGuard(self._tokenizer.control_texts)
        return self._guard.guard(messages)

    def _encode(self, parts: Sequence[int | str]) -> tuple[int, ...]:
        """Return the concatenated tokens; only a text at the start gets the vocabulary's BOS."""
        self._check_size(len(part) for part in parts if isinstance(part, str))
        tokens: list[int] = []
        for index, part in enumerate(parts):
            if isinstance(part, str):
                tokens += self._tokenizer.encode(part, add_special=index == 0, parse_special=True)
            else:
                tokens.append(part)
        return tuple(tokens)

    def _lay_out(
        self, parts: Sequence[str | EncodedMedium]
    ) -> tuple[tuple[int, ...], tuple[Medium, ...]]:
        """Return the concatenated tokens of texts and media, and the media; a text comes first."""
        self._check_size(len(part) for part in parts if isinstance(part, str))
        # If the vocabulary adds a BOS, common/chat.cpp has removed it from the rendered prompt.
        return lay_out(
            self._tokenizer.encode(part, add_special=index == 0, parse_special=True)
            if isinstance(part, str)
            else part
            for index, part in enumerate(parts)
        )

    def _check_size(self, lengths: Iterable[int]) -> None:
        """Refuse texts that cannot fit the context before time is spent on tokenising them."""
        n_characters = sum(lengths)
        if n_characters <= _CHARACTERS_PER_TOKEN * self.n_ctx:
            return
        longest = self._tokenizer.longest_piece
        if longest is not None and n_characters > longest * self.n_ctx:
            n_tokens = n_characters // longest
            raise PromptTooLongError(n_tokens, self.n_ctx, is_estimate=True)

    def _preserved(self, rendered: RenderedPrompt) -> frozenset[int]:
        """Return the markers that are one control token; longer markers are plain text already."""
        encoded = [
            self._tokenizer.encode(text, add_special=False, parse_special=True)
            for text in rendered.preserved_tokens
        ]
        return frozenset(tokens[0] for tokens in encoded if len(tokens) == 1)


def is_conversation(prompt: object) -> TypeGuard[Conversation]:
    """True for a list of messages; False for a text, token ids, or a list of prompts."""
    if isinstance(prompt, str) or not isinstance(prompt, Sequence):
        return False
    return len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _stops(options: Mapping[str, Any]) -> tuple[str, ...]:
    stop = options.get("stop", ())
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _as_rendered(params: SamplingParams, rendered: RenderedPrompt) -> SamplingParams:
    """Return `params` with the template's reasoning tags and the grammar of the rendered prompt.

    That grammar comes from tools, a schema, or the caller's own grammar.
    """
    params = replace(params, generation_prompt=rendered.generation_prompt)
    if rendered.thinking_start_tag and rendered.thinking_end_tags:
        params = replace(
            params,
            reasoning_budget_start_tag=rendered.thinking_start_tag,
            reasoning_budget_end_tags=rendered.thinking_end_tags,
        )
    if not rendered.grammar:
        return params
    return replace(
        params,
        grammar=rendered.grammar,
        grammar_lazy=rendered.grammar_lazy,
        grammar_triggers=rendered.grammar_triggers,
        grammar_prefill=rendered.grammar_prefill,
    )


def _ending_reasoning(params: SamplingParams) -> SamplingParams:
    """Return `params` that end reasoning at once: a template that always thinks begins it."""
    if not params.reasoning_budget_start_tag:
        return params
    return replace(params, reasoning_budget_tokens=0, reasoning_budget_message="")


def _nth_seed(params: SamplingParams, index: int) -> SamplingParams:
    """Give each answer of one prompt its own seed: with one seed all answers would be equal."""
    if index == 0 or params.seed is None or params.seed == RANDOM_SEED:
        return params
    return replace(params, seed=(params.seed + index) % RANDOM_SEED)
