"""HTTPS: the server's certificate as an SSL context."""

import ssl
from pathlib import Path


def make_tls_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises OSError with a sentence naming the file."""
    for file in (cert_file, key_file):
        with file.open("rb"):  # load_cert_chain names no file in its errors
            pass
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"{cert_file} and {key_file} are no certificate and key that belong together: "
            f"{error.reason or error}"
        ) from None
    return context


def _no_password() -> str:
    """Without this, OpenSSL would ask at the terminal, which a service has not."""
    raise OSError("the private key is encrypted; this server takes one without a password")
