"""MLflow as a mirror of a run: never slower than a queue, never a reason to stop.

A background thread sends what the run's metrics.jsonl holds and MLflow does not. Asking MLflow what it has, rather than
remembering, shows every step once after any crash; a server that comes back later gets what it missed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import queue
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError
from codctl.runs import atomic
from codctl.tracking import jsonl

log = logging.getLogger("codctl")

_RETRY_S = 30.0
_FINISH_DEADLINE_S = 15.0
_METRICS_PER_CALL = 500
_PARAMS_PER_CALL = 100
_PARAM_CHARS = 1000
_LARGEST_ARTIFACT_BYTES = 10_000_000
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
# Values that a user has set win. Defaults would wait minutes for a server that is not there.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


class MlflowMirror:
    """Sends a run to MLflow from its own thread.

    Args:
        uri: Tracking URI; None is a sqlite file beside the run's folder.
        experiment: Experiment, created when absent.
        run_name: Name of the MLflow run. Its id is kept in `<run_dir>/mlflow.json`, so that a resumed run continues it.
        run_dir: The run's folder.
        params: Logged once (MLflow's are immutable).
    """

    def __init__(
        self, uri: str | None, experiment: str, run_name: str, run_dir: Path, params: Mapping[str, object] | None = None
    ) -> None:
        self.uri = uri or f"sqlite:///{(run_dir.parent / 'mlflow.db').resolve()}"
        self.experiment = experiment
        self.run_name = run_name
        self.run_dir = run_dir
        self.params = dict(params or {})
        self._wishes: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._artifacts: list[tuple[Path, str]] = []
        self._client: Any = None
        self._run_id = ""
        self._sent: set[tuple[str, int]] = set()
        self._has_news = False  # until the run logs, it may still rewind
        self._retry_at = 0.0
        self._warned = False
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        if self._importable():
            self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
            self._thread.start()

    def notify(self) -> None:
        """Say that metrics.jsonl has grown."""
        self._wishes.put(("metrics", ""))

    def artifact(self, path: Path, folder: str = "") -> None:
        """Ask for a small file, or a folder of them, to be copied to MLflow."""
        self._wishes.put(("artifact", (path, folder)))

    def finish(self, status: str, *, deadline_s: float = _FINISH_DEADLINE_S) -> None:
        """Send the rest and the status (finished, failed or interrupted), but wait no longer than the deadline."""
        if self._thread is None:
            return
        self._wishes.put(("finish", status))
        if not self._done.wait(deadline_s):
            self._warn(f"did not keep up within {deadline_s:g} s; the rest is only in metrics.jsonl")

    def _importable(self) -> bool:
        # Imported here and not in the thread: two threads importing large libraries can hand each other half-made
        # modules, and that would hurt the run.
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import mlflow.tracking  # noqa: F401
        except Exception as error:  # noqa: BLE001  a broken installation can raise anything
            self._warn(f"cannot be imported ({_first_line(error)})")
            return False
        for name in ("mlflow", "alembic"):  # they announce every table they make
            logging.getLogger(name).setLevel(logging.WARNING)
        return True

    def _work(self) -> None:
        status = ""
        while not status:
            for kind, value in self._next_wishes():
                if kind == "artifact":
                    self._artifacts.append(value)
                else:
                    self._has_news = True
                    status = value or status
            if status or time.monotonic() >= self._retry_at:
                self._try_send(status)
        self._done.set()

    def _next_wishes(self) -> list[tuple[str, Any]]:
        wishes = [self._wishes.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                wishes.append(self._wishes.get_nowait())
        return wishes

    def _try_send(self, status: str) -> None:
        try:
            if self._client is None:
                self._connect()
            if self._has_news:
                self._send_metrics()
            self._send_artifacts()
            if status:
                self._client.set_terminated(self._run_id, status=_STATUS.get(status, "FAILED"))
        except Exception as error:  # noqa: BLE001  whatever it is, the run matters more
            self._client = None
            self._retry_at = time.monotonic() + _RETRY_S
            self._warn(f"is not available ({_first_line(error)})")

    def _connect(self) -> None:
        from mlflow import MlflowClient

        with self._one_process_at_a_time():  # two processes that create one sqlite file race
            client = MlflowClient(tracking_uri=self.uri)
            found = client.get_experiment_by_name(self.experiment)
            location = (self.run_dir.parent / "mlflow-artifacts").resolve().as_uri() if self._is_sqlite else None
            experiment_id = (
                found.experiment_id if found else client.create_experiment(self.experiment, artifact_location=location)
            )
            self._run_id = self._continued_run(client) or self._new_run(client, experiment_id)
        self._client = client
        known = client.get_run(self._run_id).data.params
        self._send_params({key: value for key, value in self.params.items() if key not in known})
        self._sent = self._already_there()

    def _continued_run(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        try:
            stored = json.loads((self.run_dir / "mlflow.json").read_text(encoding="utf-8"))
            if stored["uri"] != self.uri:
                return ""
            run_id = str(stored["run_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        try:
            if client.get_run(run_id).info.lifecycle_stage != "active":
                return ""
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""
        client.update_run(run_id, status="RUNNING")
        return run_id

    def _new_run(self, client: Any, experiment_id: str) -> str:
        run_id = str(client.create_run(experiment_id, run_name=self.run_name).info.run_id)
        content = {"run_id": run_id, "uri": self.uri, "experiment": self.experiment}
        with contextlib.suppress(CodctlError):  # a full disk is the run's to report
            atomic.write_json(self.run_dir / "mlflow.json", content)
        return run_id

    def _already_there(self) -> set[tuple[str, int]]:
        keys = {key for record in self._records() for key in _flat(record)}
        return {(key, m.step) for key in sorted(keys) for m in self._client.get_metric_history(self._run_id, key)}

    def _send_params(self, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        listed = [Param(key, str(value)[:_PARAM_CHARS]) for key, value in sorted(params.items())]
        for start in range(0, len(listed), _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=listed[start : start + _PARAMS_PER_CALL])

    def _send_metrics(self) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        fresh = [
            Metric(key, value, now_ms, record["step"])
            for record in self._records()
            for key, value in _flat(record).items()
            if (key, record["step"]) not in self._sent
        ]
        for start in range(0, len(fresh), _METRICS_PER_CALL):
            batch = fresh[start : start + _METRICS_PER_CALL]
            self._client.log_batch(self._run_id, metrics=batch)
            self._sent.update((metric.key, metric.step) for metric in batch)

    def _send_artifacts(self) -> None:
        while self._artifacts:
            path, folder = self._artifacts[0]
            if path.is_dir():
                self._client.log_artifacts(self._run_id, str(path), folder or None)
            elif path.is_file() and path.stat().st_size <= _LARGEST_ARTIFACT_BYTES:
                self._client.log_artifact(self._run_id, str(path), folder or None)
            self._artifacts.pop(0)

    def _records(self) -> list[dict[str, Any]]:
        return jsonl.read(self.run_dir / "metrics.jsonl")

    @property
    def _is_sqlite(self) -> bool:
        return self.uri.startswith("sqlite:")

    @contextlib.contextmanager
    def _one_process_at_a_time(self) -> Iterator[None]:
        if not self._is_sqlite:
            yield
            return
        with (self.run_dir.parent / ".mlflow.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("MLflow %s. The run goes on; its numbers are in %s", what, self.run_dir / "metrics.jsonl")


def _flat(record: Mapping[str, Any]) -> dict[str, float]:
    """MLflow's names: the phase in front; nulls (not finite) are left out."""
    values = {**record.get("metrics", {}), **record.get("timing", {})}
    return {f"{record['phase']}/{name}": float(value) for name, value in values.items() if value is not None}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
