"""The flags of what a chat has unless its request says otherwise."""

from server.cli.flag import Flag
from server.cli.values import choice, integer, json_object, reasoning_effort, yes_no_or_auto

CHAT_FLAGS = (
    Flag(
        names=("--reasoning-format",),
        target="reasoning_format",
        env="LLAMA_ARG_THINK",
        parse=choice("auto", "none", "deepseek", "deepseek-legacy"),
        metavar="FORMAT",
        help="how thoughts are split off: auto, deepseek, deepseek-legacy, or none",
    ),
    Flag(
        names=("-rea", "--reasoning"),
        target="enable_thinking",
        env="LLAMA_ARG_REASONING",
        parse=yes_no_or_auto,
        metavar="on|off|auto",
        help="whether templates that can are asked for thoughts; auto is the template's own way",
    ),
    Flag(
        names=("--reasoning-effort",),
        target="reasoning_effort",
        env="LLAMA_ARG_REASONING_EFFORT",
        parse=reasoning_effort,
        metavar="LEVEL",
        help="how much is thought, in the template's words: minimal to xhigh, or default",
    ),
    Flag(
        names=("--reasoning-budget",),
        target="reasoning_budget",
        env="LLAMA_ARG_THINK_BUDGET",
        parse=integer(-1, 2**31 - 1),
        metavar="N",
        help="tokens that a thought may take; -1 is no limit, 0 ends it at once",
    ),
    Flag(
        names=("--reasoning-budget-message",),
        target="reasoning_budget_message",
        env="LLAMA_ARG_THINK_BUDGET_MESSAGE",
        parse=str,
        metavar="TEXT",
        help="what is written before the end of a thought that took too long",
    ),
    Flag(
        names=("--chat-template-kwargs",),
        target="chat_template_kwargs",
        env="LLAMA_ARG_CHAT_TEMPLATE_KWARGS",
        parse=json_object,
        metavar="JSON",
        help='variables for the template, such as {"enable_thinking": false}',
    ),
)
