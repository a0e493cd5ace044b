"""A chat server on this machine that answers as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the fake server does with a request; `status` 0 drops the connection, `torn` does it inside the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    torn: bool = False


def says(content: Any = "yes", finish: str = "stop", **more: Any) -> Answer:
    message = {"role": "assistant", "content": content, "reasoning_content": "hm"}
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    return Answer(body={"choices": [{"message": message, "finish_reason": finish}], "usage": usage, **more})


def refuses(status: int, message: str, **headers: str) -> Answer:
    return Answer(status, {"error": {"message": message}}, {k.replace("_", "-"): v for k, v in headers.items()})


MODELS = Answer(body={"data": [{"id": "llama-8b"}, {"id": "qwen-7b"}]})


class FakeServer(ThreadingHTTPServer):
    """Answers with `answers` in turn, the last one for ever, or with what `answer` makes of a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [says()]
        self.models = MODELS
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: (
            self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        )
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.lock = threading.Lock()
        self.busy = self.peak = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # clients that gave up are what is tested


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        self._send(self.server.models if self.path == "/v1/models" else refuses(404, "Not Found"))

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.title(): value for name, value in self.headers.items()})
            server.times.append(time.monotonic())
            server.busy += 1
            server.peak = max(server.peak, server.busy)
            answer = server.answer(body) if self.path == "/v1/chat/completions" else refuses(404, "Not Found")
        time.sleep(answer.wait_s)
        with server.lock:
            server.busy -= 1
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
            return
        self.close_connection = answer.torn
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw[: len(raw) // 2] if answer.torn else raw)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002  its name in the base class


@contextmanager
def serving() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            fake.shutdown()
            thread.join()
