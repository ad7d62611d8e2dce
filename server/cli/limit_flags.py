"""The flags of what is answered, of limits, and of logs."""

from server.cli.flag import Flag
from server.cli.values import (
    choice,
    existing_folder,
    integer,
    path,
    seconds,
    seconds_or_never,
    verbosity,
)

ENDPOINTS_FLAGS = (
    Flag(
        names=("--metrics",),
        target="metrics",
        env="LLAMA_ARG_ENDPOINT_METRICS",
        help="answer /metrics, for Prometheus",
    ),
    Flag(
        names=("--slots",),
        target="slots",
        env="LLAMA_ARG_ENDPOINT_SLOTS",
        help="answer /slots",
    ),
    Flag(
        names=("--props",),
        target="props",
        env="LLAMA_ARG_ENDPOINT_PROPS",
        help="accept POST /props, which changes nothing yet; GET is always answered",
    ),
    Flag(
        names=("--slot-save-path",),
        target="slot_save_path",
        parse=existing_folder,
        metavar="FOLDER",
        help="where POST /slots/{id_slot}?action=save keeps its files; whoever may write there is "
        "trusted",
    ),
)

LIMITS_FLAGS = (
    Flag(
        names=("--drain-seconds",),
        target="drain_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="how long running answers may take to finish at an unload or at the end",
    ),
    Flag(
        names=("--max-queue",),
        target="max_queue",
        parse=integer(0, 65_536),
        metavar="N",
        help="requests that may wait for one model; more are answered 429",
    ),
    Flag(
        names=("--stall-seconds",),
        target="stall_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="an engine that has work and makes no step for so long is reported as stalled",
    ),
    Flag(
        names=("--header-hold-seconds",),
        target="header_hold_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="a stream's headers wait so long for its first text, so that errors have a status",
    ),
    Flag(
        names=("--ping-seconds", "--sse-ping-interval"),
        target="ping_seconds",
        env="LLAMA_ARG_SSE_PING_INTERVAL",
        parse=seconds_or_never,
        metavar="SECONDS",
        help="a silent stream sends a comment so often; -1 is never",
    ),
    Flag(
        names=("-to", "--timeout"),
        target="client_seconds",
        env="LLAMA_ARG_TIMEOUT",
        parse=seconds,
        metavar="SECONDS",
        help="how long a client may take to send a request's body",
    ),
    Flag(
        names=("--write-timeout",),
        target="write_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="a client that takes nothing of its stream for so long is cut off",
    ),
    Flag(
        names=("--keepalive-seconds",),
        target="keepalive_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="a connection that has sent no whole request's head for so long is closed",
    ),
    Flag(
        names=("--max-connections",),
        target="max_connections",
        parse=integer(1, 1_000_000),
        metavar="N",
        help="open connections; one more is told 503",
    ),
    Flag(
        names=("--max-body-mb",),
        target="max_body_mb",
        parse=integer(1, 4096),
        metavar="MB",
        help="largest request body",
    ),
)

LOGS_FLAGS = (
    Flag(
        names=("--log-level",),
        target="log_level",
        parse=choice("debug", "info", "warning", "error"),
        metavar="LEVEL",
        help="debug, info, warning or error",
    ),
    Flag(
        names=("-lv", "--verbosity", "--log-verbosity"),
        target="log_level",
        env="LLAMA_ARG_LOG_VERBOSITY",
        parse=verbosity,
        metavar="N",
        help="the same as llama-server's number, 0 to 5",
    ),
    Flag(
        names=("-v", "--verbose", "--log-verbose"),
        target="log_level",
        means="debug",
        help="all of it, as --log-level debug",
    ),
    Flag(
        names=("--log-file",),
        target="log_file",
        env="LLAMA_ARG_LOG_FILE",
        parse=path,
        metavar="FILE",
        help="append to this file instead of writing to stderr",
    ),
    Flag(
        names=("--log-jsonl",),
        target="log_jsonl",
        env="LLAMA_ARG_LOG_JSONL",
        help="one JSON object a line",
    ),
    Flag(
        names=("--access-log",),
        target="access_log",
        help="one line a request: no prompts, no answers, no keys",
    ),
)
