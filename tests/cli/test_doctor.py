from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from codctl.doctor import services
from codctl.doctor.findings import Finding


def test_this_machine_is_fine(cli) -> None:
    outcome = cli("doctor", "--json")
    assert outcome.code == 0, outcome.out
    findings = {finding["name"]: finding for finding in outcome.json["result"]["findings"]}
    assert {"python", "versions", "torch", "machine", "disk", "runs folder", "recipes", "mlflow"} <= set(findings)


def test_a_missing_package_fails_with_what_to_type(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "trl":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "peft" else "2.14.99" if name == "pydantic" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    outcome = cli("doctor")
    assert outcome.code == 3
    assert "failed   trl" in outcome.out
    assert 'trl: pip install "trl==1.16.0"' in outcome.out
    assert "peft 0.1" in outcome.out or "0.1 is installed" in outcome.out
    assert "not the tested set: pydantic 2.14.99 (tested: 2.14.3)" in outcome.out


def test_a_tracker_that_is_down_is_only_a_warning(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    findings = {f["name"]: f for f in cli("doctor", "--json").json["result"]["findings"]}
    assert findings["mlflow"]["status"] == "warning"
    assert findings["mlflow"]["command"] == "codctl train RECIPE tracking.mlflow=false"


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Start a server that answers as an MLflow server does; its address."""
    with ExitStack() as stack:

        def start(status: int, body: str, version: str = "3.17.2") -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    found = {"/health": (200, "OK"), "/version": (200, version)}.get(self.path, (status, body))
                    self.send_response(found[0])
                    self.end_headers()
                    self.wfile.write(found[1].encode())

                def log_message(self, *_: object) -> None:
                    pass

            httpd = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            stack.callback(httpd.shutdown)
            return f"http://somebody:secret@127.0.0.1:{httpd.server_port}"

        yield start


@pytest.mark.parametrize(
    ("status", "body", "version", "finding", "command"),
    [
        (200, "{}", "3.17.2", "answers with version 3.17.2", ""),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "3.17.2", "refuses requests for the host",
         "mlflow server --allowed-hosts 127.0.0.1:"),
        (401, "", "3.17.2", "refuses access (401)", "export MLFLOW_TRACKING_USERNAME"),
        (500, "", "3.17.2", "answers 500 to a simple request", "tracking.mlflow=false"),
        (200, "{}", "2.22.0", "answers with version 2.22.0, here is 3.", 'pip install "mlflow==2.22.0"'),
    ],
)  # fmt: skip
def test_a_tracking_server_is_asked_and_understood(
    server: Callable[..., str], monkeypatch: pytest.MonkeyPatch,
    status: int, body: str, version: str, finding: str, command: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server(status, body, version))
    found = services.mlflow()
    assert finding in found.message
    assert command in found.command
    assert (found.status == "ok") == (not command)
    assert "secret" not in found.message


def test_a_hub_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    found = services.hub_token()
    assert found == Finding("hub token", "ok", "present, from HF_TOKEN")


def test_slurm_is_looked_for_only_when_asked(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    outcome = cli("doctor", "--slurm", "--json")
    assert outcome.code == 3
    [slurm] = [f for f in outcome.json["result"]["findings"] if f["name"] == "slurm"]
    assert slurm["status"] == "failed"
    assert "not on this machine: sbatch" in slurm["message"]
