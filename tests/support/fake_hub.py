"""FakeHub: a hub on a loopback port that answers what huggingface_hub asks, with faults by switch.

A program, too, for tests of other processes and for people:

    python -m tests.support.fake_hub --port 9090 [--dir DIR] [--fault slow=5000000]
    HF_ENDPOINT=http://127.0.0.1:9090 python -m server

DIR holds org/repo/files; without it the hub has the repositories of `sample_repos`. Faults can be
changed while it runs: `POST /_faults` with their fields as JSON; `GET /_requests` lists what was
asked.
"""

import argparse
import json
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support.hub_faults import Faults
from tests.support.hub_files import HubFile, HubRepo, is_lfs, read_folder, sample_repos
from tests.support.paths import TINY_MODEL

_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/([^/]+))?")
_REFS = re.compile(r"/api/models/([^/]+/[^/]+)/refs")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_CDN = re.compile(r"/_cdn/([^/]+/[^/]+)/(.+)")


@dataclass(frozen=True)
class Asked:
    """One request that the hub got."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None


class FakeHub:
    """A hub that listens while the context is open. `faults` may be changed at any time."""

    def __init__(self, repos: Iterable[HubRepo], port: int = 0) -> None:
        self.repos = {repo.name: repo for repo in repos}
        self.faults = Faults()
        self.requests: list[Asked] = []
        self.bytes_sent = 0
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def files_asked(self) -> list[Asked]:
        """The GETs of files, in order; redirects are counted once."""
        pattern = _CDN if self.faults.cdn else _FILE
        return [
            asked
            for asked in self.requests
            if asked.method == "GET" and pattern.fullmatch(asked.path)
        ]

    def take(self, name: str) -> bool:
        """Whether a fault that is counted happens now."""
        with self.lock:
            left = int(getattr(self.faults, name))
            if left > 0:
                setattr(self.faults, name, left - 1)
            return left != 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is none of our errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.hub.faults = Faults(**given)
        self._send_json(200, asdict(self.hub.faults))

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path == "/_requests":
            asked = [{"method": one.method, "path": one.path} for one in self.hub.requests]
            self._send_json(200, {"requests": asked, "bytes_sent": self.hub.bytes_sent})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Asked(self.command, parts.path, headers))
        if self._goes_wrong():
            return
        if path == "/api/models":
            self._search(parse_qs(parts.query))
        elif match := _REFS.fullmatch(path):
            self._refs(match[1])
        elif match := _INFO.fullmatch(path):
            revision = unquote(match[2] or "main")
            self._info(match[1], revision, "/tree/" in path, "blobs" in parts.query)
        elif match := _CDN.fullmatch(path):
            self._file(self.hub.repos[match[1]], match[2], {})
        elif match := _FILE.fullmatch(parts.path):
            self._resolve(match[1], unquote(match[2]), unquote(match[3]))
        else:
            self._send_json(404, {"error": "Sorry, we can't find the page you are looking for."})

    def _goes_wrong(self) -> bool:
        """Whether a fault took the place of the answer."""
        faults = self.hub.faults
        if faults.refuse:
            self.close_connection = True
        elif self.hub.take("too_many"):
            wait = {"Retry-After": str(faults.retry_after)}
            self._send_json(429, {"error": "too many requests"}, wait)
        elif self.hub.take("unavailable"):
            self._send_json(503, {"error": "over capacity"})
        elif faults.nonsense:
            self._send(200, faults.nonsense.encode(), {"Content-Type": "application/json"})
        else:
            return False
        return True

    def _search(self, query: dict[str, list[str]]) -> None:
        words = query.get("search", [""])[0].lower().split()
        tags = set(query.get("filter", []))
        found = [
            repo.info(with_blobs=False)
            for repo in self.hub.repos.values()
            if tags <= set(repo.tags)
            and not repo.is_private
            and all(word in repo.name.lower() for word in words)
        ]
        found.sort(key=lambda info: -int(str(info["downloads"])))
        self._send_json(200, found[: int(query.get("limit", ["1000"])[0])])

    def _refs(self, name: str) -> None:
        repo = self._repo(name)
        if repo is not None:
            branches = [
                {"name": one, "ref": f"refs/heads/{one}", "targetCommit": repo.commit}
                for one in repo.revisions
            ]
            self._send_json(200, {"branches": branches, "tags": [], "converts": []})

    def _info(self, name: str, revision: str, is_tree: bool, with_blobs: bool) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if not repo.has_revision(revision):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        self._send_json(200, repo.tree() if is_tree else repo.info(with_blobs=with_blobs))

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if repo.gated and not self._has_token(repo):
            self._refuse(
                self.hub.faults.gated_status,
                "GatedRepo",
                f"Access to model {name} is restricted. You must have access to it.",
            )
        elif not repo.has_revision(revision):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif path not in repo.files:
            headers = {"X-Repo-Commit": repo.commit}
            self._refuse(404, "EntryNotFound", "Entry not found", headers)
        else:
            self._file_or_redirect(repo, path)

    def _file_or_redirect(self, repo: HubRepo, path: str) -> None:
        file = repo.files[path]
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        etag = f'"{file.sha256 if is_lfs(path) else file.git_oid}"'
        if is_lfs(path):
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": etag}
        headers["ETag"] = etag
        if is_lfs(path) and self.hub.faults.cdn:
            headers["Location"] = f"{self.hub.faults.cdn}/_cdn/{repo.name}/{quote(path)}"
            self._send(302, b"", headers)
        else:
            self._file(repo, path, headers)

    def _repo(self, name: str) -> HubRepo | None:
        """The repository; None after an error was sent."""
        repo = self.hub.repos.get(name)
        if repo is not None and not (repo.is_private and not self._has_token(repo)):
            return repo
        # The hub does not tell a missing repository from a private one without a token.
        status = 404 if self.headers.get("Authorization") else 401
        self._refuse(status, "RepoNotFound", "Repository not found")
        return None

    def _has_token(self, repo: HubRepo) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in repo.tokens

    def _file(self, repo: HubRepo, path: str, headers: dict[str, str]) -> None:
        file = repo.files[path]
        start, stop = self._range(file)
        if start >= file.size > 0:
            self._send(416, b"", {"Content-Range": f"bytes */{file.size}"})
            return
        self.send_response(206 if start or stop < file.size else 200)
        if start or stop < file.size:
            headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if self.command == "GET":
            self._send_file(file, start, stop)

    def _range(self, file: HubFile) -> tuple[int, int]:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None or self.hub.faults.ignore_range:
            return 0, file.size
        return int(found[1]), min(int(found[2]) + 1 if found[2] else file.size, file.size)

    def _send_file(self, file: HubFile, start: int, stop: int) -> None:
        faults = self.hub.faults
        end = stop
        if faults.cut < 1 and int(file.size * faults.cut) >= start and self.hub.take("cuts"):
            end = int(file.size * faults.cut)
            self.close_connection = True
        middle = file.size // 2
        began, sent = time.monotonic(), 0
        for piece in file.read(start, end):
            if faults.corrupt and start <= middle < start + len(piece):
                wrong = bytearray(piece)
                wrong[middle - start] ^= 0xFF
                piece = bytes(wrong)
            start += len(piece)
            for part in _parts(piece, self.hub.faults.slow):
                self.wfile.write(part)
                sent += len(part)
                with self.hub.lock:
                    self.hub.bytes_sent += len(part)
                if slow := self.hub.faults.slow:
                    time.sleep(max(0.0, began + sent / slow - time.monotonic()))

    def _refuse(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        more = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self._send_json(status, {"error": message}, more)

    def _send_json(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        more = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(document).encode(), more)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _parts(piece: bytes, slow: int) -> Iterable[bytes]:
    """A slow body is sent in small parts, about ten a second."""
    size = max(1, slow // 10) if slow else len(piece)
    return (piece[at : at + size] for at in range(0, len(piece), size))


def _fault(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if name not in {one.name for one in fields(Faults)}:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}")
    return name, json.loads(value) if value else True


def main() -> None:
    parser = argparse.ArgumentParser(description="A hub of models on a loopback port, for tests.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any)")
    parser.add_argument("--dir", type=Path, help="folder with org/repo/files to serve")
    parser.add_argument(
        "--big-mb", type=int, default=1024, help="size of fake/big-GGUF:Q8_0 (default: 1024)"
    )
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], help="NAME=VALUE; see Faults"
    )
    args = parser.parse_args()
    repos = read_folder(args.dir) if args.dir else sample_repos(TINY_MODEL, args.big_mb)
    with FakeHub(repos, args.port) as hub:
        hub.faults = Faults(**dict(args.fault))
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
