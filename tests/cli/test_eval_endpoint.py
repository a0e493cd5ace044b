"""`codctl eval --endpoint`: a served model is played and counted, and goes on after its server was lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ARGV = ["eval", "--model-name", "parrot", "--limit", "4", "preset=tiny", "length=2", "arms=[own,none]"]


class Server(ThreadingHTTPServer):
    """Answers every chat with the same move and hint; after `left` of them the key has expired.

    Chats with `too_long` in their system text are refused.
    """

    left = 10**9
    too_long: str | None = None
    prompts: list[list[dict[str, str]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.left -= 1
        if self.server.left < 0:
            self._send(401, {"error": {"message": "the key has expired"}})
            return
        if self.server.too_long and self.server.too_long in body["messages"][0]["content"]:
            self._send(400, {"error": {"message": "the context is too long"}})
            return
        self.server.prompts.append(body["messages"])
        text = "--- Start of updated hints ---\nK is up\n--- End of updated hints ---\n<answer>K</answer>"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.prompts = []
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_a_served_model_is_evaluated_and_counted(cli, server: Server) -> None:
    argv = [*ARGV, "--endpoint", server.url, "--price", "1000,2000"]
    result = cli(*argv, "--json").json["result"]
    part = result["parts"][0]
    assert (part["rendering"], part["family"], result["failed_episodes"]) == ("full", "frozen_lake", 0)
    title = f"model parrot on {server.url}"
    assert result["subject"] == {"kind": "endpoint", "name": "parrot", "title": title, "endpoint": server.url}
    requests = len(server.prompts)
    usage = result["usage"]
    assert usage["requests"] == requests
    assert usage["cost"] == pytest.approx(requests * (100 * 1000 + 10 * 2000) / 1e6)
    assert any("K is up" in prompt[0]["content"] for prompt in server.prompts)
    text = cli(*argv).out
    assert f"used     {requests} requests, {100 * requests} tokens read, {10 * requests} written, cost" in text
    assert len(server.prompts) == requests


@pytest.mark.parametrize("after", [1, 25, 70])
def test_a_server_that_refuses_ends_it_and_the_same_command_continues(
    cli, server: Server, home: Path, after: int
) -> None:
    argv = [*ARGV, "--endpoint", server.url, "--concurrency", "2"]
    server.left = after
    outcome = cli(*argv)
    assert outcome.code == 7
    assert "the key has expired" in outcome.err
    assert "the same command continues" in outcome.err
    assert outcome.out == ""
    server.left = 10**9
    assert cli(*argv).code == 0
    (folder,) = (home / "runs" / "evaluations").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert (result["attempts"], result["failed_episodes"], result["to_play_again"]) == (2, 0, 0)


def test_a_position_that_nobody_could_play_has_no_figures(cli, server: Server) -> None:
    server.too_long = "K is up"
    outcome = cli(*ARGV, "--endpoint", server.url)
    assert outcome.code == 0
    assert "rejected (“400 Bad Request: the context is too long”): change the server" in outcome.out
    assert "once the server or the settings are changed, the same command plays them again" in outcome.out
    assert "position 1" in outcome.out
    assert "own: +" not in outcome.out
    result = cli(*ARGV, "--endpoint", server.url, "--json").json["result"]
    assert result["failed_episodes"] > 0
    part = result["parts"][0]
    assert "own" not in part["gain"]
    assert [point["position"] for point in part["arms"]["own"]["success"]] == [0]
    (counted,) = (p for p in part["replies"]["by_position"] if p["episode"] == "solve")
    assert counted == {"arm": "own", "position": 1, "episode": "solve", "kind": "rejected", "count": 4, "of": 4}


def test_an_evaluation_in_which_nothing_could_be_played_is_an_error(cli, server: Server, home: Path) -> None:
    server.too_long = "frozen lake"
    argv = [*ARGV, "--endpoint", server.url]
    outcome = cli(*argv, "--json")
    assert outcome.code == 7
    error = outcome.json["error"]
    assert error["message"].startswith(
        "nothing could be scored: 16 of 20 requests were rejected (“400 Bad Request: the"
    )
    assert error["hint"] == "the same command plays it again"
    server.too_long = None
    assert cli(*argv).code == 0


def test_a_server_that_is_not_there_writes_nothing(cli, home: Path) -> None:
    outcome = cli(*ARGV, "--endpoint", "http://127.0.0.1:9/v1")
    assert outcome.code == 7
    assert outcome.err.count("error:") == 1
    assert list(home.iterdir()) == []
