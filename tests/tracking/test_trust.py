"""A run's folder may come from anywhere: what it names is not contacted, overwritten, deleted or copied."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl import trust
from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import mlflow_server as uri
from codctl.tracking.sync import Outcome, Sync, select

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other


@pytest.fixture
def stranger() -> Iterator[Any]:
    """A web server that keeps what it is asked, with the credentials."""
    heard: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_error(404)

        do_POST = do_GET

        def log_message(self, *_args: object) -> None:
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.heard, found.uri = heard, f"http://127.0.0.1:{found.server_address[1]}"  # type: ignore[attr-defined]
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def _sync(runs_dir: Path, *names: str) -> dict[str, Outcome]:
    work = Sync(deadline_s=120, thorough=False, say=lambda _text: None)
    return {outcome.run: outcome for outcome in work.work(select(runs_dir, names))}


def _written(run: RunDirectory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "trackers" / "mlflow.json").read_text())
    return found


def _write_(run: RunDirectory, **changes: Any) -> None:
    (run.path / "trackers" / "mlflow.json").write_text(json.dumps({**_written(run), **changes}))


def test_a_server_that_only_the_folder_names_gets_no_request_and_no_password(
    make_run: Any, ended: Callable[..., None], stranger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("gift", mlflow_uri=stranger.uri)
    ended(run, "finished")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://company:5000")
    shutil.rmtree(os.environ["XDG_STATE_HOME"])
    with pytest.raises(BackendError) as refused:
        _sync(run.root, "gift")
    assert refused.value.message == (f"{stranger.uri} is not contacted: only the run's folder names this tracker")
    assert refused.value.hint == f"if you trust it: export MLFLOW_TRACKING_URI={stranger.uri}"
    assert stranger.heard == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stranger.uri)
    with pytest.raises(BackendError):
        _sync(run.root, "gift")
    assert set(stranger.heard) == {"Basic bWU6c2VjcmV0"}


def test_a_password_in_the_environments_address_is_for_that_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:pw@company/x")
    trust.remember(["http://mine:5000/", "https://me:pw@company/x"])
    assert uri.to_connect("https://company/x", tmp_path) == "https://company/x"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "pw"
    assert uri.to_connect("http://mine:5000", tmp_path) == "http://mine:5000"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert uri.to_connect("https://company:443", tmp_path) == "https://company:443"  # remembered with the other
    for other in ("http://company", "https://company:444", "https://company.evil", "sqlite:////elsewhere.db"):
        with pytest.raises(BackendError, match="is not contacted"):
            uri.to_connect(other, tmp_path)


def test_a_home_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODCTL_TRUSTED", "")
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/none")
    trust.remember(["http://mine:5000"])
    assert uri.to_connect("http://mine:5000", tmp_path) == "http://mine:5000"


@pytest.mark.parametrize(
    "forged",
    [
        lambda theirs, _: {"memory": theirs["memory"]},
        lambda theirs, _: {"memory": theirs["memory"], "key": theirs["key"]},
        lambda theirs, _: {"memory": {}, "key": theirs["key"]},
        lambda theirs, gift: {**theirs, "place": {**theirs["place"], "inode": gift.path.stat().st_ino}},
    ],
    ids=["its id", "its id and key", "its key", "the file with this folder's inode"],
)
def test_the_mlflow_run_of_another_folder_is_left_alone(
    runs_dir: Path,
    make_run: Any,
    ended: Callable[..., None],
    in_mlflow: Callable[..., Any],
    forged: Callable[..., dict[str, Any]],
) -> None:
    original = make_run("original", steps=2)
    ended(original, "finished")
    (original.path / "report.html").write_text("the original's")
    _sync(runs_dir)
    gift = make_run("gift", steps=5)
    ended(gift, "failed")
    (gift.path / "report.html").write_text("the gift's")
    (gift.path / "trackers").mkdir()
    written = {**_written(original), "key": "0" * 32, **forged(_written(original), gift)}
    (gift.path / "trackers" / "mlflow.json").write_text(json.dumps(written))
    _sync(runs_dir)
    client = uri.connect(None, runs_dir)
    ours = client.get_run(_written(original)["memory"]["run_id"])
    assert (ours.info.status, ours.info.run_name, ours.info.lifecycle_stage) == ("FINISHED", "original", "active")
    assert len(in_mlflow(client, original)["train/loss"]) == 2
    assert _page(client, original) == "the original's"
    assert _written(gift)["memory"]["run_id"] != _written(original)["memory"]["run_id"]
    assert len(in_mlflow(client, gift)["train/loss"]) == 5
    assert _page(client, gift) == "the gift's"


def test_a_plug_in_that_only_the_folder_names_is_not_imported(
    make_run: Any, ended: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another home"))
    run = RunDirectory(make_run("gift", mlflow=False).path)
    config = json.loads((run.path / "config.json").read_text())
    config["config"]["tracking"]["sinks"] = ["stranger:Sink"]
    (run.path / "config.json").write_text(json.dumps(config))
    ended(run, "finished")
    with pytest.raises(BackendError) as refused:
        _sync(run.root, "gift")
    assert refused.value.message.startswith("stranger:Sink is not contacted")
    assert refused.value.hint == "if you trust it: export CODCTL_TRUSTED=stranger:Sink"
    assert not (tmp_path / "imported").exists()


def test_links_are_not_followed(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], evaluate: Callable[..., None]
) -> None:
    run = make_run("gift")
    ended(run, "finished")
    secret = runs_dir.parent / "id_rsa"
    secret.write_text("PRIVATE")
    evaluate(run, "stages/evaluation/after")
    for place in ("report.html", "stages/evaluation/after/report.html"):
        (run.path / place).symlink_to(secret)
    (run.path / "suites").mkdir()
    (run.path / "suites" / "x").symlink_to(runs_dir.parent, target_is_directory=True)
    _sync(runs_dir)
    sent = [path for path in (runs_dir / "mlflow-artifacts").rglob("*") if path.is_file()]
    assert {path.name for path in sent} == {"config.json", "result.json"}


def test_numbers_that_are_none(runs_dir: Path, make_run: Any, ended: Callable[..., None], in_mlflow: Any) -> None:
    run = make_run(steps=1)
    ended(run, "finished")
    strange = [{"a": "x", "b": [1], "c": 10**400, "d": True}, [1], None]
    with run.metrics_path.open("a") as file:
        for step, metrics in enumerate(strange, start=2):
            record = {"step": step, "phase": "train", "metrics": metrics, "timing": "no", "at_ms": "now"}
            file.write(json.dumps(record) + "\n" + json.dumps({**record, "step": 10**40, "metrics": {"d": 1}}) + "\n")
    _sync(runs_dir)
    client = uri.connect(None, runs_dir)
    assert in_mlflow(client, run)["train/loss"] == [(1, 1.0)]


def _page(client: Any, run: RunDirectory) -> str:
    from tests.tracking.test_sync import _forget_files

    _forget_files()
    return Path(client.download_artifacts(_written(run)["memory"]["run_id"], "report.html")).read_text()
