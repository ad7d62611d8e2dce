"""Where the reasoning of an answer is, and whether a conversation is to have any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamabind.request import ReasoningTags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llamabind.chat.template import RenderedPrompt


def reasoning_tags(rendered: RenderedPrompt, options: Mapping[str, Any]) -> ReasoningTags | None:
    """Return the tags of a rendered prompt; None if all of its answer is content."""
    start = rendered.thinking_start_tag.strip()
    ends = tuple(dict.fromkeys(filter(None, map(str.strip, rendered.thinking_end_tags))))
    if not start or not ends or options.get("reasoning_format") == "none":
        return None
    begun = rendered.generation_prompt
    is_open = begun.rfind(start) > max(begun.rfind(end) for end in ends)
    return ReasoningTags(start, ends, is_open)


def is_without_reasoning(options: Mapping[str, Any]) -> bool:
    """Return whether the options of ChatTemplate.render turn reasoning off.

    As there, `chat_template_kwargs` takes precedence over `enable_thinking`, and the effort "none"
    over both.
    """
    thinks = options.get("enable_thinking")
    of_template = (options.get("chat_template_kwargs") or {}).get("enable_thinking")
    if isinstance(of_template, bool):
        thinks = of_template
    return thinks is False or options.get("reasoning_effort") == "none"
