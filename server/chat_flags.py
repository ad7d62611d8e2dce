"""The flags of what a chat has unless its request says otherwise."""

from server.flag import Flag
from server.flag_values import choice, json_object, reasoning_effort, yes_no_or_auto

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
        names=("--chat-template-kwargs",),
        target="chat_template_kwargs",
        env="LLAMA_ARG_CHAT_TEMPLATE_KWARGS",
        parse=json_object,
        metavar="JSON",
        help='variables for the template, such as {"enable_thinking": false}',
    ),
)
