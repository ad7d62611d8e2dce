"""All flags, by group. llama-server's names and variables wherever they mean the same."""

from server.flag import Flag, Group
from server.flag_values import (
    choice,
    integer,
    key_file,
    keys,
    path,
    prefix,
    seconds,
    seconds_or_never,
    verbosity,
    words,
)
from server.model_flags import MODEL_FLAGS

_LISTENING = (
    Flag(
        names=("--host",),
        target="hosts",
        env="LLAMA_ARG_HOST",
        parse=words,
        metavar="ADDRESS,...",
        help="addresses to listen on, IPv6 too; one with a slash or ending in .sock is the path "
        "of a Unix socket",
    ),
    Flag(
        names=("--port",),
        target="port",
        env="LLAMA_ARG_PORT",
        parse=integer(0, 65_535),
        metavar="N",
        help="0 is any free port",
    ),
    Flag(
        names=("--api-prefix",),
        target="api_prefix",
        env="LLAMA_ARG_API_PREFIX",
        parse=prefix,
        metavar="PATH",
        help="stands before every path, such as /llm",
    ),
    Flag(
        names=("--ssl-cert-file",),
        target="ssl_cert_file",
        env="LLAMA_ARG_SSL_CERT_FILE",
        parse=path,
        metavar="FILE",
        help="certificate (PEM, with its chain); HTTPS together with --ssl-key-file",
    ),
    Flag(
        names=("--ssl-key-file",),
        target="ssl_key_file",
        env="LLAMA_ARG_SSL_KEY_FILE",
        parse=path,
        metavar="FILE",
        help="the certificate's private key (PEM)",
    ),
)
_ACCESS = (
    Flag(
        names=("--api-key",),
        target="api_keys",
        env="LLAMA_API_KEY",
        parse=keys,
        metavar="KEY,...",
        adds=True,
        help="keys that a request must carry one of; other users of the machine can see command "
        "lines, so better in a file",
    ),
    Flag(
        names=("--api-key-file",),
        target="api_keys",
        env="LLAMA_ARG_API_KEY_FILE",
        parse=key_file,
        metavar="FILE",
        adds=True,
        help="file of such keys, one a line; # begins a comment line",
    ),
    Flag(
        names=("--admin-key",),
        target="admin_keys",
        parse=keys,
        metavar="KEY,...",
        adds=True,
        help="keys for loading and unloading too; with one, the others cannot do that",
    ),
    Flag(
        names=("--admin-key-file",),
        target="admin_keys",
        parse=key_file,
        metavar="FILE",
        adds=True,
        help="file of such keys",
    ),
    Flag(
        names=("--insecure-no-auth",),
        target="insecure_no_auth",
        help="listen on other addresses than loopback without any key: whoever reaches the port "
        "can use the server",
    ),
    Flag(
        names=("--allowed-hosts",),
        target="allowed_hosts",
        parse=words,
        metavar="NAME,...",
        help="names that a request's Host header may have besides localhost; checked when only "
        "loopback is listened on, and wherever this flag is given; * is any",
    ),
    Flag(
        names=("--cors-origins",),
        target="cors_origins",
        env="LLAMA_ARG_CORS_ORIGINS",
        parse=words,
        metavar="ORIGIN,...",
        help="web pages that may use the server from a browser; localhost is any page of this "
        "machine, * any at all",
    ),
    Flag(
        names=("--cors-methods",),
        target="cors_methods",
        env="LLAMA_ARG_CORS_METHODS",
        parse=str,
        metavar="METHODS",
        help="methods that such pages may use",
    ),
    Flag(
        names=("--cors-headers",),
        target="cors_headers",
        env="LLAMA_ARG_CORS_HEADERS",
        parse=str,
        metavar="HEADERS",
        help="headers that such pages may send; * is those they ask for",
    ),
    Flag(
        names=("--cors-credentials",),
        target="cors_credentials",
        env="LLAMA_ARG_CORS_CREDENTIALS",
        help="such pages may send cookies and the like",
    ),
)
_MODELS = (
    Flag(
        names=("-m", "--model"),
        target="model_file",
        env="LLAMA_ARG_MODEL",
        parse=path,
        metavar="FILE",
        help="serve this one GGUF file; requests need not name it then",
    ),
    Flag(
        names=("-a", "--alias"),
        target="aliases",
        env="LLAMA_ARG_ALIAS",
        parse=words,
        metavar="NAME,...",
        help="other names of the model of --model; the first is how it is listed",
    ),
    Flag(
        names=("--models-dir",),
        target="models_dir",
        env="LLAMA_ARG_MODELS_DIR",
        parse=path,
        metavar="DIR",
        help="folder of GGUF files, with sub-folders; it may be missing",
    ),
    Flag(
        names=("--bundled-model",),
        target="bundled_model",
        help="list the small model that comes with the package",
    ),
    Flag(
        names=("--models-max",),
        target="models_max",
        env="LLAMA_ARG_MODELS_MAX",
        parse=integer(0, 1024),
        metavar="N",
        help="models in memory at once; 0 is as many as fit",
    ),
    Flag(
        names=("--models-autoload",),
        target="models_autoload",
        env="LLAMA_ARG_MODELS_AUTOLOAD",
        help="load a model when a request names it",
    ),
    Flag(
        names=("--ttl", "--sleep-idle-seconds"),
        target="ttl_seconds",
        parse=seconds_or_never,
        metavar="SECONDS",
        help="unload a model that nobody has used for so long; -1 is never",
    ),
    Flag(
        names=("--load-timeout",),
        target="load_timeout",
        parse=seconds,
        metavar="SECONDS",
        help="a load that takes longer has failed",
    ),
)
_ENDPOINTS = (
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
)
_LIMITS = (
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
_LOGS = (
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

GROUPS = (
    Group("listening", _LISTENING),
    Group("access", _ACCESS),
    Group("models", _MODELS),
    Group("what a load takes unless it or the model's own settings say otherwise", MODEL_FLAGS),
    Group("endpoints", _ENDPOINTS),
    Group("limits", _LIMITS),
    Group("logs", _LOGS),
)
