"""Flags for optional endpoints, limits and logs."""

from server.cli.flag import Flag
from server.cli.values.choices import choice, verbosity
from server.cli.values.files import existing_folder, path
from server.cli.values.numbers import integer, seconds, seconds_or_never

ENDPOINTS_FLAGS = (
    Flag(
        names=("--ui", "--webui"),
        target="ui",
        off_names=("--no-webui",),
        env="LLAMA_ARG_UI",
        help="serve the web page at / and its files at /ui/",
    ),
    Flag(
        names=("--metrics",),
        target="metrics",
        env="LLAMA_ARG_ENDPOINT_METRICS",
        help="serve GET /metrics in Prometheus format",
    ),
    Flag(
        names=("--gateway-metrics",),
        target="gateway_metrics",
        help="add the names of vLLM's metrics that Kubernetes' inference gateways read to "
        "GET /metrics",
    ),
    Flag(
        names=("--slots",),
        target="slots",
        env="LLAMA_ARG_ENDPOINT_SLOTS",
        help="serve GET /slots",
    ),
    Flag(
        names=("--props",),
        target="props",
        env="LLAMA_ARG_ENDPOINT_PROPS",
        help="accept POST /props, which changes nothing yet; GET /props is always served",
    ),
    Flag(
        names=("--slot-save-path",),
        target="slot_save_path",
        parse=existing_folder,
        metavar="FOLDER",
        help="folder for the files of POST /slots/{id_slot}?action=save; only trusted users may "
        "have write access to it",
    ),
)

LIMITS_FLAGS = (
    Flag(
        names=("--drain-seconds",),
        target="drain_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="time that running answers get to finish when a model is unloaded or the server stops",
    ),
    Flag(
        names=("--max-queue",),
        target="max_queue",
        parse=integer(0, 65_536),
        metavar="N",
        help="maximum number of requests waiting for one model; further requests get 429, except "
        "from clients with less than an equal share of the queue",
    ),
    Flag(
        names=("--stall-seconds",),
        target="stall_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="report an engine as stalled when it has work but completes no step for this long; "
        "replace a worker that sends no report or prepares no request for this long while "
        "requests wait for it",
    ),
    Flag(
        names=("--header-hold-seconds",),
        target="header_hold_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="hold a stream's headers at most this long for its first token, so that early errors "
        "get an HTTP status",
    ),
    Flag(
        names=("--ping-seconds", "--sse-ping-interval"),
        target="ping_seconds",
        env="LLAMA_ARG_SSE_PING_INTERVAL",
        parse=seconds_or_never,
        metavar="SECONDS",
        help="send a comment on an idle SSE stream at this interval; -1 disables it",
    ),
    Flag(
        names=("-to", "--timeout"),
        target="client_seconds",
        env="LLAMA_ARG_TIMEOUT",
        parse=seconds,
        metavar="SECONDS",
        help="time limit for receiving a request's body",
    ),
    Flag(
        names=("--write-timeout",),
        target="write_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="disconnect a client that reads nothing from its stream for this long",
    ),
    Flag(
        names=("--keepalive-seconds",),
        target="keepalive_seconds",
        parse=seconds,
        metavar="SECONDS",
        help="close a connection that does not send complete request headers within this time",
    ),
    Flag(
        names=("--max-connections",),
        target="max_connections",
        parse=integer(1, 1_000_000),
        metavar="N",
        help="maximum number of open connections, less if the limit of file descriptors is lower; "
        "further ones get 503",
    ),
    Flag(
        names=("--max-body-mb",),
        target="max_body_mb",
        parse=integer(1, 4096),
        metavar="MB",
        help="maximum size of a request body, before and after decompression",
    ),
)

LOGS_FLAGS = (
    Flag(
        names=("--log-disable",),
        target="log_level",
        means="error",
        help="log errors only, like --log-level error",
    ),
    Flag(
        names=("--log-level",),
        target="log_level",
        parse=choice("debug", "info", "warning", "error"),
        metavar="LEVEL",
        help="lowest level that is logged: debug, info, warning or error",
    ),
    Flag(
        names=("-lv", "--verbosity", "--log-verbosity"),
        target="log_level",
        env="LLAMA_ARG_LOG_VERBOSITY",
        parse=verbosity,
        metavar="N",
        help="log level as llama-server's number: 0 and 1 are error, 2 is warning, 3 is info, "
        "4 and 5 are debug",
    ),
    Flag(
        names=("-v", "--verbose", "--log-verbose"),
        target="log_level",
        means="debug",
        help="log everything, like --log-level debug",
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
        help="write each log line as a JSON object",
    ),
    Flag(
        names=("--access-log",),
        target="access_log",
        help="log one line per request, without prompts, answers or keys",
    ),
)
