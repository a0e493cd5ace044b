"""A real MLflow server that is away, slow, killed or loses answers: at the end everything is there, and once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import server
from codctl.tracking.mirror import Mirror
from codctl.tracking.prepare import prepare
from codctl.tracking.push import tracking_of
from codctl.tracking.sync import Outcome, Sync, select

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other

Numbers = dict[str, list[tuple[int, float]]]
PATIENCE_S = 120.0


@pytest.fixture
def run(make_run: Any, ended: Callable[..., None], evaluate: Callable[..., None], proxy: Any) -> RunDirectory:
    """A finished run with an evaluation, whose tracker is behind the proxy."""
    found: RunDirectory = make_run(uri=proxy.uri, steps=40)
    ended(found, "finished")
    evaluate(found, "suites/loops")
    return found


@pytest.fixture
def complete(
    proxy: Any, mirrored: Callable[..., Numbers], on_disk: Callable[..., Numbers]
) -> Callable[[RunDirectory], None]:
    """Asserts that the server has all of a run, once; nested evaluation and status too."""

    def check(run: RunDirectory) -> None:
        proxy.reset()
        client = server.connect(proxy.uri, run.root, timeout_s=60)
        assert mirrored(client, run) == on_disk(run)
        experiment = client.get_experiment_by_name(tracking_of(run).experiment)
        found = client.search_runs([experiment.experiment_id])
        assert sorted(one.info.run_name for one in found) == ["tiny", "tiny/loops"]
        assert {one.info.status for one in found} == {"FINISHED"}
        nested = next(one for one in found if one.info.run_name == "tiny/loops")
        assert nested.data.tags["mlflow.parentRunId"] == _id(run)
        history = client.get_metric_history(nested.info.run_id, "own/success")
        assert sorted((m.step, m.value) for m in history) == [(0, 0.25), (1, 0.75)]
        assert {file.path for file in client.list_artifacts(_id(run))} == {"config.json"}

    return check


def _id(run: RunDirectory) -> str:
    return json.loads((run.path / "mlflow.json").read_text())["run_id"]


def _sync(run: RunDirectory, *, deadline_s: float = PATIENCE_S) -> Outcome:
    work = Sync(deadline_s=deadline_s, thorough=False, say=lambda _text: None)
    (outcome,) = work.work(select(run.root, [run.name]))
    return outcome


def _fail(run: RunDirectory, **settings: float) -> BackendError:
    with pytest.raises(BackendError) as failed:
        _sync(run, **settings)
    return failed.value


@pytest.mark.parametrize("request_", ["runs/create", "runs/log-batch", "runs/update", "experiments/create"])
def test_an_answer_is_lost_after_the_server_has_stored(
    run: RunDirectory, proxy: Any, complete: Callable[..., None], request_: str
) -> None:
    proxy.lose = {request_: 1}
    assert "MLflow cannot be reached" in _fail(run).message
    assert proxy.lose == {request_: 0}
    _sync(run)
    complete(run)
    assert not _sync(run).sent


def test_answer_after_answer_is_lost(run: RunDirectory, proxy: Any, complete: Callable[..., None]) -> None:
    """Whatever is asked, the first answer is lost, then the second, and so on until there is none to lose."""
    for number in range(60):
        proxy.reset()
        proxy.lose_number = number
        try:
            _sync(run)
        except BackendError:
            continue
        if len(proxy.requests) <= number:
            break
    complete(run)


@pytest.mark.parametrize("request_", ["runs/log-batch", "runs/create"])
def test_a_request_arrives_when_nobody_waits_any_more(
    run: RunDirectory, proxy: Any, complete: Callable[..., None], request_: str
) -> None:
    proxy.late = {request_}
    _fail(run)
    proxy.late = set()
    _sync(run)
    proxy.release()
    work = Sync(deadline_s=PATIENCE_S, thorough=True, say=lambda _text: None)
    (outcome,) = work.work(select(run.root, [run.name]))
    assert outcome.sent.removed == (1 if request_ == "runs/create" else 0)
    complete(run)


def test_down_at_the_start_and_back_again(
    run: RunDirectory, proxy: Any, complete: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    proxy.is_down = True
    mirror = Mirror(run.path, run.title)
    _until(lambda: caplog.records)
    mirror.finish("finished", deadline_s=PATIENCE_S)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("MLflow is not available (MlflowException: API request to http://127.0.0.1")
    assert "`codctl sync tiny` sends the rest" in warning
    error = _fail(run)
    assert (error.exit_code, error.where) == (7, proxy.uri)
    assert "start the server" in error.hint
    proxy.is_down = False
    _sync(run)
    complete(run)


def test_killed_in_the_middle_and_started_again(
    run: RunDirectory, proxy: Any, mlflow_server: Any, logged: Callable[..., None], complete: Callable[..., None]
) -> None:
    mirror = Mirror(run.path, run.title)
    _until(lambda: any(path.endswith("log-batch") for path in proxy.requests))
    mlflow_server.kill()
    logged(run, 41, 60)
    mirror.finish("finished", deadline_s=PATIENCE_S)
    mlflow_server.start()
    _sync(run)
    complete(run)


def test_slow(run: RunDirectory, proxy: Any, complete: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    proxy.delay_s = 20.0
    started_s = time.monotonic()
    mirror = Mirror(run.path, run.title)
    assert time.monotonic() - started_s < proxy.delay_s  # nobody waits for it to come up
    _until(lambda: proxy.requests)
    started_s = time.monotonic()
    mirror.finish("finished", deadline_s=0.5)
    assert time.monotonic() - started_s < proxy.delay_s
    assert "did not finish within 0.5 s" in caplog.text
    error = _fail(run, deadline_s=1)
    assert error.message == "not done within 1 s"
    proxy.delay_s = 0.2
    _sync(run)
    complete(run)


def test_workers_attach_to_what_was_prepared(
    make_run: Any, runs_dir: Path, proxy: Any, ended: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    sweep = runs_dir / "sweeps" / "grid"
    sweep.mkdir(parents=True)
    runs = [make_run(name, uri=proxy.uri, sweep=sweep, steps=1) for name in ("a", "b", "c")]
    proxy.is_down = True
    assert prepare(runs, tracking_of(runs[0]), parent=sweep, deadline_s=PATIENCE_S) == 0
    assert len(caplog.records) == 1
    assert "each run registers itself when it starts" in caplog.text
    proxy.is_down = False
    assert prepare(runs[:2], tracking_of(runs[0]), parent=sweep, deadline_s=PATIENCE_S) == 2
    made = [_id(run) for run in runs[:2]]
    client = server.connect(proxy.uri, runs_dir, timeout_s=60)
    for run_id in made:
        found = client.get_run(run_id)
        assert found.info.status == "SCHEDULED"
        assert found.data.params["train.loss.kind"] == "rec"
    for run in runs:
        ended(run, "finished")
        _sync_titled(run)
    assert [_id(run) for run in runs[:2]] == made
    parent = json.loads((sweep / "mlflow.json").read_text())["run_id"]
    parents = {client.get_run(_id(run)).data.tags["mlflow.parentRunId"] for run in runs}
    assert parents == {parent}
    assert client.get_run(made[0]).info.status == "FINISHED"


def _sync_titled(run: RunDirectory) -> None:
    work = Sync(deadline_s=PATIENCE_S, thorough=False, say=lambda _text: None)
    list(work.work(select(run.root, [run.title])))


def _until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
