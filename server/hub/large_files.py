"""fetch_by_xet: fetches files that hubs do not send over plain HTTP. Runs in a child process only.

hf-xet has its own transfer, which begins anew after an interruption.
"""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import get_hf_file_metadata, xet_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._runtime import is_xet_available

from server.hub.library import CorruptFileError, NeedsXetError
from server.hub.messages import Fetch
from server.hub.repo_files import RepoFile

_REPORT_SECONDS = 0.5


def fetch_by_xet(request: Fetch, file: RepoFile, part: Path, report: Callable[[int], None]) -> None:
    """Write the file to `part`. Raises NeedsXetError, or CorruptFileError and removes the part."""
    metadata = get_hf_file_metadata(hf_hub_url(request.repo, file.path, revision=request.commit))
    if metadata.xet_file_data is None or not is_xet_available():
        limit = constants.MAX_HTTP_DOWNLOAD_SIZE // 10**9
        raise NeedsXetError(
            f"{file.path} has {file.size} bytes; files over {limit} GB need the package hf_xet: "
            "pip install hf_xet"
        )
    part.unlink(missing_ok=True)
    has_ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(part, report, has_ended), daemon=True)
    watcher.start()
    try:
        xet_get(
            incomplete_path=part,
            xet_file_data=metadata.xet_file_data,
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=file.path,
        )
    finally:
        has_ended.set()
        watcher.join()
    with part.open("rb") as data:
        is_right = hashlib.file_digest(data, "sha256").hexdigest() == file.sha256
    if not is_right:
        part.unlink()
        raise CorruptFileError.for_file(file.path)


def _watch(part: Path, report: Callable[[int], None], has_ended: threading.Event) -> None:
    """Report the size of the part while it grows."""
    while not has_ended.wait(_REPORT_SECONDS):
        if part.exists():
            report(part.stat().st_size)
