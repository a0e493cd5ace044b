"""A client for MLflow that gives up soon, and what its errors mean."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from codctl.config.credentials import redacted
from codctl.errors import BackendError, CodctlError
from codctl.files import atomic, lock
from codctl.tracking import uri as uris

MIRROR_TIMEOUT_S, SYNC_TIMEOUT_S = 10, 30
ARTIFACTS = "mlflow-artifacts"
_LONGEST = 160  # characters of an error; what MLflow wraps in it goes on for lines
_LOCK_WAIT_S, _LOCK_POLL_S = 60.0, 0.05


def connect(stored: str | None, runs_dir: Path, *, timeout_s: int) -> Any:
    """An MlflowClient. A sqlite file is created by the first process alone: its tables take seconds.

    Args:
        stored: Address as a run has written it down.
        runs_dir: Where the sqlite file of `None` lies.
        timeout_s: Of one request. A request is never repeated by itself: MLflow would make two runs of one.

    Raises:
        BackendError: The user has not chosen this server, MLflow cannot be imported, or another process holds the
            sqlite file.
    """
    address = uris.to_connect(stored, runs_dir)
    os.environ |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s),
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
        raise BackendError(
            f"MLflow cannot be imported ({first_line(error)})",
            hint="pip install mlflow, or switch it off with tracking.mlflow=false",
        ) from error
    for name in ("mlflow", "alembic", "urllib3"):  # they announce every table and every failed request
        logging.getLogger(name).setLevel(logging.ERROR)
    if not address.startswith("sqlite:"):
        return MlflowClient(tracking_uri=address)
    with making(runs_dir):
        path = Path(address.removeprefix("sqlite:///"))
        if path.is_symlink():
            raise BackendError(
                "mlflow.db is a link", where=str(path), hint="name the other file in tracking.mlflow_uri=sqlite:///PATH"
            )
        _make_tables(path)
        if path == uris.database(runs_dir):
            _follow(path, runs_dir)
        return MlflowClient(tracking_uri=address)


def _make_tables(path: Path) -> None:
    """Make a sqlite file whole or not at all: killed among its tables, it could never be used again."""
    if path.exists() or not path.parent.is_dir():
        return
    from mlflow import MlflowClient

    for leftover in path.parent.glob(f".{path.name}.tmp-*"):
        leftover.unlink(missing_ok=True)
    temp = atomic.temp_sibling(path)
    MlflowClient(tracking_uri=f"sqlite:///{temp}").get_experiment_by_name("Default")
    temp.rename(path)


def _follow(path: Path, runs_dir: Path) -> None:
    """Make the database of a runs folder that was moved or copied name the files that lie beside it now.

    MLflow writes whole paths down, and would put a copy's files into the original's folder.
    """
    here = artifacts(runs_dir)
    with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_WAIT_S)) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            old = f"substr({column}, 1, instr({column}, '/{ARTIFACTS}') + {len(ARTIFACTS)})"
            database.execute(  # two names of this file
                f"UPDATE {table} SET {column} = ? || substr({column}, length({old}) + 1) "  # noqa: S608
                f"WHERE {column} LIKE 'file:%/{ARTIFACTS}%' AND {old} != ?",
                (here, here),
            )


def artifacts(runs_dir: Path) -> str:
    """Where MLflow keeps files beside the sqlite file, as an address."""
    return (runs_dir.resolve() / ARTIFACTS).as_uri()


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


@contextlib.contextmanager
def making(runs_dir: Path) -> Iterator[None]:
    """One process at a time makes databases, experiments and runs.

    Raises:
        BackendError: Another one takes longer than a minute.
    """
    path = runs_dir / ".mlflow.lock"
    deadline = time.monotonic() + _LOCK_WAIT_S
    with atomic.storage_errors(path):
        descriptor = lock.open_lock(path, os.O_RDWR | os.O_CREAT)
    try:
        while not lock.try_lock(descriptor, path):
            if time.monotonic() > deadline:
                raise BackendError(f"another process has been creating a run for {_LOCK_WAIT_S:g} s", where=str(path))
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def shown(stored: str | None, runs_dir: Path) -> str:
    """The address for people."""
    return stored or f"sqlite:///{runs_dir / 'mlflow.db'}"


def answered(error: Exception) -> bool:
    """Whether MLflow was there and said no, rather than not being there."""
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, RestException):
        return True
    codes = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
    return isinstance(error, MlflowException) and error.error_code in codes


def has_code(error: Exception, code: str) -> bool:
    return getattr(error, "error_code", None) == code


def first_line(error: Exception) -> str:
    """An error in one line, without credentials."""
    lines = str(error).strip().splitlines()
    if isinstance(error, CodctlError) and lines:
        return redacted(lines[0])
    text = redacted(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
