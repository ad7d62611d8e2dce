"""ConversationRenderer: conversations rendered with the model's chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from llamabind.chat.control_tokens import ControlTokenGuard
from llamabind.chat.media_markers import insert_markers, split_at_markers
from llamabind.chat.size_limits import argument_lengths, check_sizes
from llamabind.errors import ChatTemplateError, GrammarError, InvalidParameterError
from llamabind.schema.fitting import FittedSchemas, KnownFits, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.chat.template import ChatTemplate, RenderedPrompt
    from llamabind.generation.prompt_encoder import PromptEncoder
    from llamabind.media.medium import EncodedMedium
    from llamabind.native.tokenizer import Tokenizer
    from llamabind.sampling.params import SamplingParams

Message = Mapping[str, Any]
Conversation = Sequence[Message]

NO_TEMPLATE = (
    "the model has no chat template, so conversations are written as ChatML, "
    "which the model may not understand"
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered prompt, split at media and inside texts that only look like control tokens."""

    rendered: RenderedPrompt
    parts: list[str | EncodedMedium]
    warnings: tuple[str, ...]


class ConversationRenderer:
    """Renders conversations, and fits the schemas of their options to grammars. Any thread."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        encoder: PromptEncoder,
        check_grammar: Callable[[SamplingParams], None] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._encoder = encoder
        self._check_grammar = check_grammar
        self._fits = KnownFits()
        self._guard: ControlTokenGuard | None = None

    @property
    def template(self) -> ChatTemplate:
        """The model's template. Raises ChatTemplateError if the model generates no text."""
        if self._template is None:
            raise ChatTemplateError("conversations need a model that generates text")
        return self._template

    def check_grammar(self, params: SamplingParams) -> None:
        """Raise GrammarError if a sampler would refuse the grammar of these parameters."""
        if self._check_grammar is not None and params.grammar:
            self._check_grammar(params)

    def render(
        self,
        messages: Conversation,
        render_options: Mapping[str, Any],
        params: SamplingParams | None,
    ) -> Rendering:
        """Render, and weaken lenient schemas step by step until a grammar can be built for them.

        With `params` None nothing will be generated, so the grammar is not checked.
        """
        check_sizes(messages, render_options, self._encoder.n_ctx)
        key = key_of(render_options)
        levels = self._fits.find(key)
        schemas = FittedSchemas(render_options, levels or ())
        while True:
            try:
                rendered, parts = self._render(messages, schemas.options)
                if params is not None and schemas.is_lenient and levels is None:
                    self.check_grammar(as_rendered(params, rendered))
                    self._fits.keep(key, schemas.levels)
            except (InvalidParameterError, GrammarError) as error:
                if not schemas.weaken(error):
                    raise
                levels = None
            else:
                return Rendering(rendered, parts, self._warnings(schemas))

    def _warnings(self, schemas: FittedSchemas) -> tuple[str, ...]:
        is_explicit = self.template.is_explicit
        return schemas.warnings if is_explicit else (*schemas.warnings, NO_TEMPLATE)

    def _render(
        self, messages: Conversation, render_options: Mapping[str, Any]
    ) -> tuple[RenderedPrompt, list[str | EncodedMedium]]:
        marked, media = insert_markers(messages)
        guarded, mark = self._guarded(marked)
        rendered = self.template.render(guarded, **render_options)
        parts: list[str | EncodedMedium] = []
        for part in split_at_markers(rendered.prompt, media):
            if isinstance(part, str) and mark:
                parts += part.split(mark)
            else:
                parts.append(part)
        return rendered, parts

    def _guarded(self, messages: Conversation) -> tuple[Conversation, str]:
        self._encoder.check_size(
            len(content)
            for message in messages
            if isinstance(content := message.get("content"), str)
            and message.get("role") != "assistant"  # templates may drop its reasoning
        )
        self._encoder.check_size(argument_lengths(messages))
        if self._guard is None:
            self._guard = ControlTokenGuard(self._tokenizer.control_texts)
        return self._guard.guard(messages)


def is_conversation(prompt: object) -> TypeGuard[Conversation]:
    """True for a list of messages; False for a text, token ids, or a list of prompts."""
    if isinstance(prompt, str) or not isinstance(prompt, Sequence):
        return False
    return len(prompt) > 0 and isinstance(prompt[0], Mapping)


def as_rendered(params: SamplingParams, rendered: RenderedPrompt) -> SamplingParams:
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
