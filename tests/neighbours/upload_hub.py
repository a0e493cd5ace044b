"""A model hub on loopback that takes uploads as the real one does: repositories, large files, commits."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

TOKEN = "hf_onlyfortestsabcdef"


class UploadHub(ThreadingHTTPServer):
    """Attributes:
    repos: By name: whether it is private.
    files: What was committed, by repository and path.
    headers: The authorizations that were sent.
    delay_s: Before it takes a commit.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.messages: list[str] = []
        self.large: dict[str, bytes] = {}
        self.headers: set[str] = set()
        self.refuses = ""
        self.delay_s = 0.0
        self.closed = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def taking() -> Iterator[UploadHub]:
    with UploadHub() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closed.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: UploadHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._body()
        name = self.path.partition("?")[0].removeprefix("/api/models/")
        if name in self.server.repos:
            self._say({"id": name, "private": self.server.repos[name], "siblings": []})
        else:
            self._say({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_PUT(self) -> None:
        self.server.large[self.path.rpartition("/")[2]] = self._body()
        self._say({})

    def do_POST(self) -> None:
        body, path, hub = self._body(), self.path.partition("?")[0], self.server
        if hub.refuses and not path.endswith("validate-yaml"):
            # Some servers repeat what they were sent.
            self._say({"error": f"{hub.refuses} ({self.headers['Authorization']})"}, 403)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.repos[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            self._say({"url": f"{hub.url}/{name}", "name": name})
        elif path.endswith("validate-yaml"):
            self._say({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            found = [self._mode(one) for one in json.loads(body)["files"]]
            self._say({"files": found})
        elif path.endswith("/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{hub.url}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._say({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")
        elif "/commit/" in path:
            hub.closed.wait(hub.delay_s)
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._say({"error": f"unexpected {path}"}, 404)

    @staticmethod
    def _mode(one: dict[str, Any]) -> dict[str, Any]:
        is_large = one["path"].endswith(".safetensors")
        return {"path": one["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}

    def _commit(self, repo: str, body: bytes) -> None:
        files = self.server.files.setdefault(repo, {})
        for line in body.splitlines():
            record = json.loads(line)
            value = record["value"]
            if record["key"] == "header":
                self.server.messages.append(value["summary"])
            elif record["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif record["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        oid = "0123456789abcdef0123456789abcdef01234567"
        url = f"{self.server.url}/{repo}/commit/{oid}"
        self._say({"success": True, "commitOid": oid, "commitUrl": url})

    def _body(self) -> bytes:
        self.server.headers.add(self.headers.get("Authorization", ""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _say(
        self, value: Any, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)
