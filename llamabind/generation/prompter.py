"""Prompter: turns prompts and conversations into requests that an engine can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from llamabind.chat.media_markers import MEDIUM_TEXT, is_medium
from llamabind.checks import check_int
from llamabind.errors import InvalidParameterError, PromptTooLongError
from llamabind.generation.answer_masks import (
    AnswerMasks,
    AnswerSchema,
    begun_answer,
    callable_tools,
    must_call,
)
from llamabind.generation.conversation import (
    Conversation,
    ConversationRenderer,
    as_rendered,
    is_conversation,
)
from llamabind.generation.options import REQUEST_OPTIONS, SCHEMA_OPTIONS, TEMPLATE_OPTIONS
from llamabind.generation.prompt_encoder import PromptEncoder
from llamabind.generation.prompt_requests import MAX_ANSWERS, PromptRequests, RenderedText
from llamabind.generation.reasoning import is_without_reasoning, reasoning_tags
from llamabind.request import GenerationRequest
from llamabind.sampling.params import RANDOM_SEED, SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.chat.template import ChatTemplate
    from llamabind.native.tokenizer import Tokenizer

Prompt = str | Sequence[int] | Sequence[int | str] | Sequence[int | str | Mapping[str, Any]]


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
        self.n_ctx = n_ctx
        self._encoder = PromptEncoder(tokenizer, n_ctx)
        self._renderer = ConversationRenderer(tokenizer, template, self._encoder, check_grammar)
        self._masks = AnswerMasks(tokenizer)
        self._ids = count(1)

    def prepare(
        self,
        prompt: Prompt | Conversation,
        params: SamplingParams | None,
        options: Mapping[str, Any],
    ) -> PromptRequests:
        """Return the requests for a prompt or a conversation.

        A text gets the special tokens that the vocabulary adds (BOS), and special tokens spelled
        out in it become special tokens, as in llama-server's completions; a prompt may also be a
        list of texts, token ids and parts of type "media", the first of them a text. In a
        conversation only special tokens of the template count, not those in messages: see
        ControlTokenGuard. Contents may have parts of type "media" too; a part's `medium` is an
        EncodedMedium of the model's projector, its `param` names it in errors. Raises
        PromptTooLongError, InvalidParameterError, TokenizeError or ChatTemplateError.
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
        if any(map(is_medium, parts)):
            media = [part["medium"] if is_medium(part) else part for part in parts]
            tokens, options["media"] = self._encoder.lay_out(media)
        else:
            tokens = self._encoder.encode(parts)
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
        template = self._renderer.template
        if params.grammar:
            render_options = {**render_options, "grammar": params.grammar}
        rendering = self._renderer.render(messages, render_options, params)
        rendered = rendering.rendered
        tokens, options["media"] = self._encoder.lay_out(rendering.parts)
        options["template_stop"] = rendered.stops
        options["reasoning_tags"] = reasoning_tags(rendered, render_options)
        options["preserved_tokens"] = self._encoder.control_tokens(rendered.preserved_tokens)
        params = as_rendered(params, rendered)
        if is_without_reasoning(render_options):
            params = _ending_reasoning(params)
        warnings = rendering.warnings
        if schema is not None and not must_call(render_options):
            tools = callable_tools(render_options)
            begun = begun_answer(messages, render_options)
            mask, more = self._masks.of_chat(schema, template, rendered, tools, begun)
            if not mask.reasoning and not mask.call:
                # A start tag in the answer is text of its JSON.
                params = replace(params, reasoning_budget_tokens=-1)
            options["mask"] = mask
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
        rendering = self._renderer.render(messages, options, None)
        parts = rendering.parts
        text = "".join(part if isinstance(part, str) else MEDIUM_TEXT for part in parts)
        return RenderedText(text, self._encoder.lay_out(parts)[0], (*warnings, *rendering.warnings))

    def check_grammar(self, params: SamplingParams) -> None:
        """Raise GrammarError if a sampler would refuse the grammar of these parameters."""
        self._renderer.check_grammar(params)

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


def _stops(options: Mapping[str, Any]) -> tuple[str, ...]:
    stop = options.get("stop", ())
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _ending_reasoning(params: SamplingParams) -> SamplingParams:
    """Return `params` that end reasoning at once, for templates that begin it in any case."""
    if not params.reasoning_budget_start_tag:
        return params
    return replace(params, reasoning_budget_tokens=0, reasoning_budget_message="")


def _nth_seed(params: SamplingParams, index: int) -> SamplingParams:
    """Give each answer of one prompt its own seed: with one seed all answers would be equal."""
    if index == 0 or params.seed is None or params.seed == RANDOM_SEED:
        return params
    return replace(params, seed=(params.seed + index) % RANDOM_SEED)
