"""A real MLflow server, and a proxy in front of it that fails on command."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_S = 180.0  # a loaded machine takes long over MLflow's imports and tables


class Server:
    """`mlflow server` on loopback with a sqlite file; started again it has what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **quiet}, start_new_session=True
            )
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < deadline_s, (self.folder / "server.log").read_text()[-3000:]
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False


class Proxy:
    """Passes requests on to a server. Each attribute may be changed at any time.

    Attributes:
        is_down: Connections are closed without an answer.
        delay_s: Wait before each answer.
        lose: Answers to so many requests whose path ends like the key are lost; the server has stored them.
        lose_number: The answer to this request, counted from 0 since `reset`, is lost; the server has stored it.
        late: Requests whose path ends like the key are not answered, and reach the server at `release`.
        requests: Paths of all requests that came.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.is_down, self.delay_s = False, 0.0
        self.lose: dict[str, int] = {}
        self.lose_number = -1
        self.late: set[str] = set()
        self.requests: list[str] = []
        self._held: list[tuple[str, str, bytes, dict[str, str]]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def pass_on(self) -> None:
                proxy.pass_on(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self) -> None:
        self.is_down, self.delay_s, self.lose, self.late, self.requests = False, 0.0, {}, set(), []
        self.lose_number = -1

    def release(self) -> None:
        """Late requests arrive."""
        while self._held:
            self._forward(*self._held.pop(0))

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = handler.path.split("?")[0]
        self.requests.append(path)
        if self.is_down:
            handler.close_connection = True
            return
        request = (handler.command, handler.path, body, dict(handler.headers.items()))
        if any(path.endswith(end) for end in self.late):
            self._held.append(request)
            handler.close_connection = True
            return
        status, content, kind = self._forward(*request)
        began_s = time.monotonic()
        while time.monotonic() - began_s < self.delay_s:
            time.sleep(0.02)
        lost = next((end for end, count in self.lose.items() if count and path.endswith(end)), None)
        if lost is not None:
            self.lose[lost] -= 1
        if lost is not None or len(self.requests) == self.lose_number + 1:
            handler.close_connection = True
            return
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        try:
            connection.request(method, path, body, kept)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Type") or "application/json"
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
