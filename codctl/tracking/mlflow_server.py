"""A client for MLflow that gives up soon, and the sqlite file that stands in for a server in the runs folder."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from codctl import trust
from codctl.config.credentials import redacted, without_credentials
from codctl.errors import BackendError
from codctl.files import atomic
from codctl.files.lock import holding

URI = "MLFLOW_TRACKING_URI"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_ARTIFACTS = "mlflow-artifacts"
_TIMEOUT_S, _LOCK_WAIT_S = 10, 60.0
_lent: set[str] = set()  # variables that this process has set for one server


def to_store(configured: str | None) -> str | None:
    """The address that a run writes down: the recipe's, else that of MLFLOW_TRACKING_URI, else None: the runs folder.

    Credentials are never part of it.
    """
    found = configured or os.environ.get(URI) or None
    return without_credentials(found) if found else None


def to_connect(stored: str | None, runs_dir: Path) -> str:
    """The address to give to MLflow, where the user has chosen this server.

    User and password of MLFLOW_TRACKING_URI move to where MLflow looks for them, while it is that server's turn.

    Raises:
        BackendError: Nothing but the run's folder names it.
    """
    while _lent:
        os.environ.pop(_lent.pop(), None)
    if stored is None:
        return f"sqlite:///{_database(runs_dir)}"
    trust.check(stored, URI)
    given = os.environ.get(URI, "")
    if not given or trust.server_of(given) != trust.server_of(stored):
        return stored
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https"):
        return given  # a database takes them from its address alone
    for name, value in ((_USER, parts.username), (_PASSWORD, parts.password)):
        if value and name not in os.environ:
            os.environ[name] = unquote(value)
            _lent.add(name)
    return stored


def connect(stored: str | None, runs_dir: Path) -> Any:
    """An MlflowClient. A request is not repeated by itself: MLflow would make two runs of one.

    Args:
        stored: Address as a run has written it down.
        runs_dir: Where the sqlite file of `None` lies.

    Raises:
        BackendError: The user has not chosen this server, or MLflow cannot be imported.
    """
    address = to_connect(stored, runs_dir)
    os.environ |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT_S),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise BackendError(f"MLflow cannot be imported ({problem})", hint="pip install mlflow") from error
    for name in ("mlflow", "alembic", "urllib3"):  # they announce every table and every failed request
        logging.getLogger(name).setLevel(logging.ERROR)
    if address.startswith("sqlite:"):
        _prepare(Path(address.removeprefix("sqlite:///")), runs_dir)
    return MlflowClient(tracking_uri=address)


def artifacts(runs_dir: Path) -> str:
    """Where MLflow keeps files beside the sqlite file, as an address."""
    return (runs_dir.resolve() / _ARTIFACTS).as_uri()


def check_artifacts(client: Any, run_id: str, runs_dir: Path) -> None:
    """See that files for a sqlite file in the runs folder stay there: that folder may have been handed over.

    Raises:
        BackendError: They would go elsewhere, also by a link.
    """
    address = str(client.get_run(run_id).info.artifact_uri)
    parts, root = urlsplit(address), runs_dir.resolve()
    if parts.scheme in ("", "file") and not parts.netloc:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if Path(unquote(parts.path)).resolve().is_relative_to(root):
                return
    raise BackendError(
        f"MLflow would put the files of this run at {redacted(address)}, outside the runs folder",
        where=str(runs_dir),
        hint="with tracking.experiment=OTHER they lie in the runs folder",
    )


def get_run(client: Any, run_id: str | None) -> Any:
    """A run, also a deleted one; None when there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id and run_id.isalnum() else None
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def make_experiment(client: Any, name: str, location: str | None) -> Any:
    """An experiment, also if another process is quicker."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.get_experiment_by_name(name)


def _database(runs_dir: Path) -> Path:
    path = runs_dir.resolve() / "mlflow.db"
    if set("?%#") & set(str(path)):  # libraries disagree about how these are written in an address
        raise BackendError(
            "MLflow's database cannot lie below a folder with ?, % or # in its name",
            where=str(runs_dir),
            hint="name another one: tracking.mlflow_uri=sqlite:////PATH/mlflow.db",
        )
    return path


def _prepare(path: Path, runs_dir: Path) -> None:
    """Make the tables, by one process alone and whole: killed among them, the file could never be used again."""
    from mlflow import MlflowClient

    with holding(runs_dir / ".mlflow.lock", _LOCK_WAIT_S) as is_alone:
        if not is_alone:
            raise BackendError(f"another process has been creating it for {_LOCK_WAIT_S:g} s", where=str(path))
        if path.is_symlink():
            raise BackendError(
                "mlflow.db is a link", where=str(path), hint="name the other file in tracking.mlflow_uri=sqlite:///PATH"
            )
        if not path.exists() and path.parent.is_dir():
            atomic.remove_leftovers_of(path)
            temp = atomic.temp_sibling(path)
            MlflowClient(tracking_uri=f"sqlite:///{temp}").get_experiment_by_name("Default")
            temp.rename(path)
        if path == runs_dir.resolve() / "mlflow.db":
            _follow(path, runs_dir)


def _follow(path: Path, runs_dir: Path) -> None:
    """Make the database of a runs folder that was moved or copied name the files that lie beside it now.

    MLflow writes whole paths down, and would put a copy's files into the original's folder.
    """
    here = artifacts(runs_dir)
    with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_WAIT_S)) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            old = f"substr({column}, 1, instr({column}, '/{_ARTIFACTS}') + {len(_ARTIFACTS)})"
            database.execute(  # two names of this file
                f"UPDATE {table} SET {column} = ? || substr({column}, length({old}) + 1) "  # noqa: S608
                f"WHERE {column} LIKE 'file:%/{_ARTIFACTS}%' AND {old} != ?",
                (here, here),
            )
