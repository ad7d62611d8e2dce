"""Flags for the addresses that the server listens on, and for access to it."""

import re

from server.cli.flag import Flag
from server.cli.values.files import existing_folder, key_file, path
from server.cli.values.lists import keys, words
from server.cli.values.numbers import integer

_PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)


def _prefix(text: str) -> str:
    """The prefix of every URL path, such as /llm; may be empty."""
    text = text.rstrip("/")
    if text and not _PREFIX.fullmatch(text):
        raise ValueError(f"{text!r} is not a path prefix such as /llm")
    return text


LISTENING_FLAGS = (
    Flag(
        names=("--host",),
        target="hosts",
        env="LLAMA_ARG_HOST",
        parse=words,
        metavar="ADDRESS,...",
        help="addresses to listen on, IPv4 or IPv6; an entry that contains a slash or ends in "
        ".sock is the path of a Unix socket",
    ),
    Flag(
        names=("--port",),
        target="port",
        env="LLAMA_ARG_PORT",
        parse=integer(0, 65_535),
        metavar="N",
        help="TCP port to listen on; 0 picks a free one",
    ),
    Flag(
        names=("--reuse-port",),
        target="reuse_port",
        env="LLAMA_ARG_REUSE_PORT",
        help="let several servers listen on the same port; the system distributes the connections",
    ),
    Flag(
        names=("--api-prefix",),
        target="api_prefix",
        env="LLAMA_ARG_API_PREFIX",
        parse=_prefix,
        metavar="PATH",
        help="prefix of every URL path, such as /llm",
    ),
    Flag(
        names=("--ssl-cert-file",),
        target="ssl_cert_file",
        env="LLAMA_ARG_SSL_CERT_FILE",
        parse=path,
        metavar="FILE",
        help="TLS certificate (PEM, with its chain); enables HTTPS together with --ssl-key-file",
    ),
    Flag(
        names=("--ssl-key-file",),
        target="ssl_key_file",
        env="LLAMA_ARG_SSL_KEY_FILE",
        parse=path,
        metavar="FILE",
        help="private key of the certificate (PEM, without a password)",
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
        help="API keys; every request must carry one, except probes and the files of the web "
        "pages. Other users of the machine can read command lines, so prefer --api-key-file",
    ),
    Flag(
        names=("--api-key-file",),
        target="api_keys",
        env="LLAMA_ARG_API_KEY_FILE",
        parse=key_file,
        metavar="FILE",
        adds=True,
        help="file of API keys, one per line; lines that begin with # are comments",
    ),
    Flag(
        names=("--admin-key",),
        target="admin_keys",
        parse=keys,
        metavar="KEY,...",
        adds=True,
        help="keys that may also load, unload, estimate, download and delete models and read "
        "events; once one is set, ordinary API keys may not",
    ),
    Flag(
        names=("--admin-key-file",),
        target="admin_keys",
        parse=key_file,
        metavar="FILE",
        adds=True,
        help="file of admin keys, in the form of --api-key-file",
    ),
    Flag(
        names=("--insecure-no-auth",),
        target="insecure_no_auth",
        help="allow listening on addresses other than loopback without a key: every client that "
        "reaches the port can use the server",
    ),
    Flag(
        names=("--allowed-hosts",),
        target="allowed_hosts",
        parse=words,
        metavar="NAME,...",
        help="names that a request's Host header may contain besides localhost; checked when the "
        "server listens on loopback only, and always when this flag is given; * allows any name",
    ),
    Flag(
        names=("--proxied-clients",),
        target="proxied_clients",
        help="tell clients apart by the header X-Client instead of key and address, for the queue "
        "and the log; for a server that only a proxy reaches, which sets this header",
    ),
    Flag(
        names=("--media-hosts",),
        target="media_hosts",
        parse=words,
        metavar="NAME,...",
        help="hosts from which images and audio named by http(s) URLs are fetched, at public "
        "addresses only; * allows any host; empty disables fetching",
    ),
    Flag(
        names=("--media-path",),
        target="media_path",
        parse=existing_folder,
        metavar="FOLDER",
        help="folder of images and audio that requests name by file:// URLs, relative to it",
    ),
    Flag(
        names=("--cors-origins",),
        target="cors_origins",
        env="LLAMA_ARG_CORS_ORIGINS",
        parse=words,
        metavar="ORIGIN,...",
        help="origins of web pages that may use the server from a browser; localhost allows all "
        "pages served by this machine; apps allows desktop apps and browser extensions "
        "(app://, tauri://, vscode-webview://, file://, and the origin null of local files, which "
        "a sandboxed frame of any website has too); * allows any page",
    ),
    Flag(
        names=("--cors-methods",),
        target="cors_methods",
        env="LLAMA_ARG_CORS_METHODS",
        parse=str,
        metavar="METHODS",
        help="HTTP methods that pages of --cors-origins may use",
    ),
    Flag(
        names=("--cors-headers",),
        target="cors_headers",
        env="LLAMA_ARG_CORS_HEADERS",
        parse=str,
        metavar="HEADERS",
        help="request headers that pages of --cors-origins may send; * allows all that they "
        "request",
    ),
    Flag(
        names=("--cors-credentials",),
        target="cors_credentials",
        env="LLAMA_ARG_CORS_CREDENTIALS",
        help="let pages of --cors-origins send credentials, such as cookies",
    ),
)
