"""Flags for the defaults of chat requests."""

from server.cli.flag import Flag
from server.cli.values.choices import choice, reasoning_effort, yes_no_or_auto
from server.cli.values.lists import json_object
from server.cli.values.numbers import integer

CHAT_FLAGS = (
    Flag(
        names=("--keep",),
        target="n_keep",
        parse=integer(-1, 2**31 - 1),
        metavar="N",
        help="tokens at the start of a prompt that --context-shift never drops; -1 is the whole "
        "prompt",
    ),
    Flag(
        names=("--reasoning-format",),
        target="reasoning_format",
        env="LLAMA_ARG_THINK",
        parse=choice("auto", "none", "deepseek", "deepseek-legacy"),
        metavar="FORMAT",
        help="form in which reasoning is separated from the answer: auto, deepseek, "
        "deepseek-legacy, or none",
    ),
    Flag(
        names=("-rea", "--reasoning"),
        target="enable_thinking",
        env="LLAMA_ARG_REASONING",
        parse=yes_no_or_auto,
        metavar="on|off|auto",
        help="turn reasoning on, in chat templates that support it, or off; auto keeps the "
        "template's default",
    ),
    Flag(
        names=("--reasoning-effort",),
        target="reasoning_effort",
        env="LLAMA_ARG_REASONING_EFFORT",
        parse=reasoning_effort,
        metavar="LEVEL",
        help="amount of reasoning, passed to the chat template: none, minimal, low, medium, "
        "high, xhigh or max; the value default keeps the template's own",
    ),
    Flag(
        names=("--reasoning-budget",),
        target="reasoning_budget",
        env="LLAMA_ARG_THINK_BUDGET",
        parse=integer(-1, 2**31 - 1),
        metavar="N",
        help="maximum number of reasoning tokens; -1 is no limit, 0 ends reasoning at once",
    ),
    Flag(
        names=("--reasoning-budget-message",),
        target="reasoning_budget_message",
        env="LLAMA_ARG_THINK_BUDGET_MESSAGE",
        parse=str,
        metavar="TEXT",
        help="text inserted before the end tag when --reasoning-budget is used up",
    ),
    Flag(
        names=("--chat-template-kwargs",),
        target="chat_template_kwargs",
        env="LLAMA_ARG_CHAT_TEMPLATE_KWARGS",
        parse=json_object,
        metavar="JSON",
        help='variables for the chat template, such as {"enable_thinking": false}',
    ),
)
