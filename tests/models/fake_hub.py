"""A model hub on loopback that answers as the real one where `snapshot_download` asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from codctl.models import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "lab/tiny"
GATED = "lab/gated"


class FakeHub(ThreadingHTTPServer):
    """Serves one folder as MODEL at COMMIT, which is also `main`.

    Attributes:
        asked: Paths of all requests.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> set[str]:
        """Names of the files that were asked for."""
        return {path.rpartition("/")[2] for path in self.asked if "/resolve/" in path}


@contextmanager
def serving(folder: Path) -> Iterator[FakeHub]:
    with FakeHub(folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def use_own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of hub models, and a user who lets codctl ask the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub, "_is_offline_wished", lambda: False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        content = self._content(path)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_hash(content)}"'}
        if GATED in path:
            headers |= {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}
        elif content is None:
            headers |= {"X-Error-Code": "RevisionNotFound" if MODEL in path else "RepoNotFound"}
        self.send_response(401 if GATED in path else 200 if content is not None else 404)
        for name, value in {**headers, "Content-Length": str(len(content or b""))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content or b"")

    def _content(self, path: str) -> bytes | None:
        files = self.server.files
        if path in (f"/api/models/{MODEL}/revision/main", f"/api/models/{MODEL}/revision/{COMMIT}"):
            return json.dumps({"id": MODEL, "sha": COMMIT, "siblings": []}).encode()
        if path == f"/api/models/{MODEL}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": _hash(content)}
                for name, content in files.items()
            ]
            return json.dumps(tree).encode()
        return files.get(path.rpartition("/")[2]) if path.startswith(f"/{MODEL}/resolve/{COMMIT}/") else None


def _hash(content: bytes | None) -> str:
    return hashlib.sha1(content or b"", usedforsecurity=False).hexdigest()
