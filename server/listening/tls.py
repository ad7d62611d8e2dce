"""tls_context: the TLS settings of --ssl-cert-file and --ssl-key-file."""

import ssl
from pathlib import Path

from server.config import ServerConfig
from server.listening.addresses import ListenError


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """The context for TLS 1.2 and later; None for plain HTTP. Raises ListenError."""
    if config.ssl_cert_file is None or config.ssl_key_file is None:
        return None
    try:
        return _make_context(config.ssl_cert_file, config.ssl_key_file)
    except OSError as error:
        raise ListenError(f"cannot serve HTTPS: {error}") from None


def _make_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Raises OSError whose message names the file."""
    for file in (cert_file, key_file):
        with file.open("rb"):  # raises an error that names the file; load_cert_chain's does not
            pass
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"{cert_file} and {key_file} are not a certificate and its private key: "
            f"{error.reason or error}"
        ) from None
    return context


def _no_password() -> str:
    """Replaces OpenSSL's password prompt: a service has no terminal."""
    raise OSError("the private key is encrypted; give one without a password")
