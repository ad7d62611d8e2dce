"""The flags of where the server listens, and of who may use it."""

from server.cli.flag import Flag
from server.cli.values import integer, key_file, keys, path, prefix, words

LISTENING_FLAGS = (
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

ACCESS_FLAGS = (
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
        names=("--media-hosts",),
        target="media_hosts",
        parse=words,
        metavar="NAME,...",
        help="hosts that pictures and sounds named by http(s) URLs are fetched from, at public "
        "addresses only; * is any, none is no fetching",
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
