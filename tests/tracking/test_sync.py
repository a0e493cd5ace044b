"""What `codctl sync` sends, with a plain sqlite file: everything once, nothing twice, the status as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import BackendError
from codctl.files import lock
from codctl.tracking import mlflow_server as server
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.state import sending
from codctl.tracking.sync import Outcome, Sync, evaluated, select
from tests.results import made

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other

Numbers = dict[str, list[tuple[int, float]]]


def _sync(runs_dir: Path, *names: str, thorough: bool = False) -> dict[str, Outcome]:
    work = Sync(deadline_s=120, thorough=thorough, say=lambda _text: None)
    return {outcome.run: outcome for outcome in work.work(select(runs_dir, names))}


def _client(runs_dir: Path) -> Any:
    return server.connect(None, runs_dir)


def _id(folder: Path) -> str:
    found: str = json.loads((folder / "trackers" / "mlflow.json").read_text())["memory"]["run_id"]
    return found


def test_everything_once_and_a_second_time_nothing(
    runs_dir: Path,
    make_run: Any,
    ended: Callable[..., None],
    evaluate: Callable[..., None],
    in_mlflow: Callable[..., Numbers],
    on_disk: Callable[..., Numbers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codctl.tracking.feed._POINTS_PER_CALL", 100)
    run = make_run(steps=90)  # more than one request takes
    ended(run, "finished")
    evaluate(run, "stages/evaluation/after")
    evaluate(run, "suites/loops", digest="d2")
    (run.path / "report.html").write_text("<p>page</p>")
    sent = _sync(runs_dir)["tiny"].sent
    client = _client(runs_dir)
    assert in_mlflow(client, run) == on_disk(run)
    assert sent.points == sum(map(len, on_disk(run).values()))
    assert sent.evaluations == 2
    found = client.get_run(_id(run.path))
    assert found.info.status == "FINISHED"
    assert found.data.params["digest"] == run.manifest()["digest"]
    assert found.data.params["train.loss.kind"] == "rec"
    assert {file.path for file in client.list_artifacts(_id(run.path))} == {"config.json", "report.html"}
    nested = client.search_runs([found.info.experiment_id], f"tags.`mlflow.parentRunId` = '{_id(run.path)}'")
    assert {one.info.run_name: one.data.params["digest"] for one in nested} == {"tiny/after": "d1", "tiny/loops": "d2"}
    assert {one.info.status for one in nested} == {"FINISHED"}
    curve = client.get_metric_history(nested[0].info.run_id, "own/success")
    assert [(metric.step, metric.value) for metric in curve] == [(0, 0.25), (1, 0.75)]
    assert [file.path for file in client.list_artifacts(nested[0].info.run_id)] == ["result.json"]

    assert not _sync(runs_dir)["tiny"].sent
    ours = [one.info.run_id for one in nested]
    again = _sync(runs_dir, thorough=True)["tiny"].sent
    assert (again.points, again.evaluations, again.files) == (0, 2, 2)  # the evaluations, to replace what may be amiss
    assert [one.info.run_id for one in client.search_runs([found.info.experiment_id])[:-1]] == ours
    assert in_mlflow(client, run) == on_disk(run)


def test_a_resumed_run_continues_its_mlflow_run(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], logged: Callable[..., None],
    in_mlflow: Callable[..., Numbers], on_disk: Callable[..., Numbers],
) -> None:  # fmt: skip
    run = make_run(steps=4)
    ended(run, "failed")
    _sync(runs_dir)
    before = _id(run.path)
    MetricsLog(run.metrics_path).rewind("train", 2)
    logged(run, 3, 6)
    ended(run, "finished")
    assert _sync(runs_dir)["tiny"].sent.status == "finished"
    assert _id(run.path) == before
    found, client = in_mlflow(_client(runs_dir), run), _client(runs_dir)
    assert {key: points for key, points in found.items() if key.startswith("train/")} == {
        key: points for key, points in on_disk(run).items() if key.startswith("train/")
    }
    assert len(client.search_runs([client.get_run(before).info.experiment_id])) == 1


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED"), ("died", "KILLED"),
     ("cancelled", "KILLED"), ("paused", "SCHEDULED")],
)  # fmt: skip
def test_the_status_is_the_truth(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], outcome: str, word: str
) -> None:
    run = make_run(steps=1)
    ended(run, outcome)
    assert _sync(runs_dir)["tiny"].status == outcome
    assert _client(runs_dir).get_run(_id(run.path)).info.status == word


def test_an_evaluation_that_was_played_anew_replaces_the_old_one(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], evaluate: Callable[..., None]
) -> None:
    run = make_run(steps=1)
    ended(run, "finished")
    evaluate(run, "suites/loops", failed_episodes=3)
    _sync(runs_dir)
    evaluate(run, "suites/loops", failed_episodes=0)
    assert _sync(runs_dir)["tiny"].sent.evaluations == 1
    client = _client(runs_dir)
    query = f"tags.`mlflow.parentRunId` = '{_id(run.path)}'"
    (nested,) = client.search_runs([client.get_run(_id(run.path)).info.experiment_id], query)
    history = client.get_metric_history(nested.info.run_id, "failed_episodes")
    assert [metric.value for metric in history] == [0.0]


def test_trials_are_nested_under_their_sweep(runs_dir: Path, make_run: Any, ended: Callable[..., None]) -> None:
    sweep = runs_dir / "sweeps" / "grid"
    sweep.mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}")
    for name, outcome in (("a", "finished"), ("b", "failed")):
        ended(make_run(name, sweep=sweep), outcome)
    found = _sync(runs_dir, "grid")
    assert {name: outcome.sent.status for name, outcome in found.items()} == {
        "grid/a": "finished",
        "grid/b": "failed",
        "grid": "failed",
    }
    client = _client(runs_dir)
    parents = {client.get_run(_id(sweep / "trials" / name)).data.tags["mlflow.parentRunId"] for name in "ab"}
    assert parents == {_id(sweep)}
    assert client.get_run(_id(sweep)).info.run_name == "grid"
    assert not any(outcome.sent for outcome in _sync(runs_dir).values())


def test_what_others_use_is_left_to_them(runs_dir: Path, make_run: Any, ended: Callable[..., None]) -> None:
    ended(make_run("live"), "died")
    ended(make_run("sent"), "finished")
    make_run("planned")
    with lock.RunLock(runs_dir / "live" / "lock"), sending(runs_dir / "sent", "mlflow"):
        found = _sync(runs_dir)
    assert {name: outcome.note for name, outcome in found.items()} == {
        "live": "in use: the process that runs it sends its numbers",
        "planned": "not started yet",
        "sent": "in use: another process is sending it",
    }
    assert not (runs_dir / "live" / "trackers" / "mlflow.json").exists()


def test_a_run_deleted_in_mlflow_is_made_again(
    runs_dir: Path, make_run: Any, ended: Callable[..., None],
    in_mlflow: Callable[..., Numbers], on_disk: Callable[..., Numbers],
) -> None:  # fmt: skip
    run = make_run()
    ended(run, "finished")
    _sync(runs_dir)
    old, client = _id(run.path), _client(runs_dir)
    client.delete_run(old)
    _sync(runs_dir, thorough=True)
    assert _id(run.path) != old
    assert in_mlflow(client, run) == on_disk(run)


def test_job_scripts_stay_here(runs_dir: Path, make_run: Any, ended: Callable[..., None]) -> None:
    run = make_run(steps=1)
    ended(run, "finished")
    config = json.loads((run.path / "config.json").read_text())
    config["config"]["cluster"]["setup"] = ["export TOKEN=secret-1"]
    config["config"]["description"] = "see http://me:secret-2@host"
    (run.path / "config.json").write_text(json.dumps(config))
    _sync(runs_dir)
    client = _client(runs_dir)
    assert client.get_run(_id(run.path)).data.params["description"] == "see http://host"
    stored = [path for path in (runs_dir / "mlflow-artifacts").rglob("*") if path.is_file()]
    stored += [runs_dir / "mlflow.db", run.path / "trackers" / "mlflow.json"]
    assert len(stored) == 3
    assert not [path for path in stored if b"secret-" in path.read_bytes()]


def test_evaluations_of_a_run_are_nested_under_it_and_sent_once(
    runs_dir: Path, make_run: Any, ended: Callable[..., None]
) -> None:
    run = make_run("short")
    ended(run, "finished")
    _sync(runs_dir)
    folder = runs_dir / "evaluations" / "short-ralph-loop-0a1b2c3d"
    folder.mkdir(parents=True)
    subject = {"kind": "run", "name": "short", "step": 20, "checkpoint": "step"}
    played = {"arms": {"own": {"success": made.curve(0.5)}}}
    result = made.result_json(played, suite="ralph-loop", digest="0a1b2c3d", subject=subject)
    (folder / "evaluation.json").write_text(json.dumps({**result, "trajectories": 8}))
    assert not _sync(runs_dir)["short"].sent  # it has not been played
    (folder / "result.json").write_text(json.dumps(result))
    evaluated(run)
    assert not _sync(runs_dir)["short"].sent
    client = _client(runs_dir)
    parent = client.get_run(_id(run.path))
    [found] = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert found.info.run_name == "short/ralph-loop-0a1b2c3d"
    assert (found.data.params["model.step"], found.data.metrics["own/success"]) == ("20", 0.5)
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["result.json"]
    (folder / "report.html").write_text("page")
    assert _sync(runs_dir)["short"].sent.files == 1


def test_what_mlflows_pages_show_of_a_run(runs_dir: Path, make_run: Any, ended: Callable[..., None]) -> None:
    run = make_run("short")
    manifest = json.loads(run.manifest_path.read_text())
    manifest["command"] = ["codctl", "train", "a b"]
    manifest["machine"]["commit"] = "c0ffee with changes"
    run.manifest_path.write_text(json.dumps(manifest))
    frozen = json.loads((run.path / "config.json").read_text())
    frozen["config"]["description"] = "What it is for."
    (run.path / "config.json").write_text(json.dumps(frozen))
    ended(run, "finished")
    _sync(runs_dir)
    client = _client(runs_dir)
    found = client.get_run(_id(run.path))
    tags = found.data.tags
    assert tags["mlflow.source.name"] == "codctl train 'a b'"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.note.content"] == "What it is for."
    experiment = client.get_experiment(found.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_copy_gets_an_mlflow_run_of_its_own(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], evaluate: Callable[..., None]
) -> None:
    run = make_run("short")
    ended(run, "finished")
    evaluate(run, "stages/evaluation/after")
    (run.path / "report.html").write_text("the original's")
    _sync(runs_dir)
    shutil.copytree(run.path, runs_dir / "copy")
    (runs_dir / "copy" / "report.html").write_text("the copy's")
    outcomes = _sync(runs_dir)
    assert not outcomes["short"].sent
    assert outcomes["copy"].sent.points
    assert not any(outcome.sent for outcome in _sync(runs_dir).values())
    client = _client(runs_dir)
    ours, its = client.get_run(_id(run.path)), client.get_run(_id(runs_dir / "copy"))
    assert (ours.info.run_name, its.info.run_name) == ("short", "copy")
    assert its.data.params["name"] == "copy"
    assert [_page(found) for found in (ours, its)] == ["the original's", "the copy's"]


def test_a_renamed_run_keeps_its_mlflow_run_under_its_new_name(
    runs_dir: Path, make_run: Any, ended: Callable[..., None]
) -> None:
    run = make_run("short")
    ended(run, "finished")
    _sync(runs_dir)
    run.path.rename(runs_dir / "long")
    assert not _sync(runs_dir)["long"].sent
    assert _client(runs_dir).get_run(_id(runs_dir / "long")).info.run_name == "long"


@pytest.mark.parametrize("keep", [True, False], ids=["copied", "moved"])
def test_a_runs_folder_elsewhere_has_its_own_files_in_mlflow(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], *, keep: bool
) -> None:
    run = make_run("short")
    ended(run, "finished")
    (run.path / "report.html").write_text("the original's")
    _sync(runs_dir)
    other = runs_dir.with_name("other")
    (shutil.copytree if keep else shutil.move)(runs_dir, other)
    (other / "short" / "report.html").write_text("the other's")
    _forget_files()  # another process would know nothing of them
    assert _sync(other)["short"].sent.files == 1
    assert _page(_client(other).get_run(_id(other / "short"))) == "the other's"
    assert runs_dir.exists() == keep
    if keep:
        _forget_files()
        assert _page(_client(runs_dir).get_run(_id(run.path))) == "the original's"


def _page(found: Any) -> str:
    from urllib.parse import unquote, urlsplit

    return (Path(unquote(urlsplit(found.info.artifact_uri).path)) / "report.html").read_text()


def _forget_files() -> None:
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


_CALLS = ("create_experiment", "create_run", "log_batch", "update_run", "set_terminated", "set_tag", "log_artifact")


def test_an_answer_is_lost_again_and_again(
    runs_dir: Path, make_run: Any, ended: Callable[..., None], evaluate: Callable[..., None],
    in_mlflow: Callable[..., Numbers], on_disk: Callable[..., Numbers], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """MLflow stores what it is told, but its answer does not arrive: of the first call, of the second, and so on."""
    from mlflow import MlflowClient

    left = 0
    for name in _CALLS:
        real = getattr(MlflowClient, name)

        def call(self: Any, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            nonlocal left
            found, left = _real(self, *args, **kwargs), left - 1
            if left == 0:
                raise ConnectionError("the answer is lost")
            return found

        monkeypatch.setattr(MlflowClient, name, call)
    run = make_run(steps=5)
    ended(run, "finished")
    evaluate(run, "suites/loops")
    losses = 0
    for number in range(1, 60):
        left = number
        try:
            _sync(runs_dir)
        except BackendError as error:
            losses += error.message == "MLflow cannot be reached: ConnectionError: the answer is lost"
        if left > 0:
            break
    assert losses > 3
    client = _client(runs_dir)
    assert in_mlflow(client, run) == on_disk(run)
    found = client.search_runs([client.get_run(_id(run.path)).info.experiment_id])
    assert sorted((one.info.run_name, one.info.status) for one in found) == [
        ("tiny", "FINISHED"),
        ("tiny/loops", "FINISHED"),
    ]
