"""Imports aiohttp without the system's CA certificates.

aiohttp reads them twice when it is imported, a tenth of the CPU time of the server's start. Only
its client uses them: a client of this process must pass an SSL context of its own
(server.requests.remote_media), because aiohttp's default contexts then trust no certificate.
"""

import ssl
import sys


def import_aiohttp() -> None:
    """Import aiohttp; call it before any other module of the process does."""
    if "aiohttp" in sys.modules:
        return

    def read_nothing(self: ssl.SSLContext) -> None:
        pass

    # SSLContext inherits this method from C, so the class itself has none to restore.
    ssl.SSLContext.set_default_verify_paths = read_nothing  # type: ignore[method-assign]
    try:
        import aiohttp.web  # noqa: F401
    finally:
        del ssl.SSLContext.set_default_verify_paths


import_aiohttp()
