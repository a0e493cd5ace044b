"""Which MLflow run mirrors a folder: `mlflow.json`, written whole, before and after the MLflow run is made.

The key is written first and given to MLflow as a tag. When the answer to "make a run" is lost, the run is found by it.
The folder is written down too: in a copy of it the file counts for nothing, so that the copy gets an MLflow run of its
own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import UsageError
from codctl.files import atomic, reader
from codctl.log import log
from codctl.runs import place
from codctl.tracking import uri as uris

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig

FILE = "mlflow.json"
KEY_TAG, PLACE_TAG = "codctl.key", "codctl.place"


@dataclass(frozen=True)
class Identity:
    """The MLflow run of a run or of a sweep.

    Attributes:
        key: Tag by which MLflow can find it; empty for runs of an older codctl.
        uri: Address without credentials; None is the sqlite file in the runs folder.
        experiment: Name of the MLflow experiment.
        run_id: None until MLflow has made the run.
        was_moved: The folder had another name, or lay elsewhere, when this was written.
    """

    key: str
    uri: str | None
    experiment: str
    run_id: str | None = None
    was_moved: bool = False

    def of_part(self, name: str) -> str:
        """The key of something nested under it; the same name gives the same key."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"codctl/{self.key or self.run_id}/{name}").hex

    def made(self, folder: Path, run_id: str | None, runs_dir: Path) -> Identity:
        """The same with the id that MLflow gave, written down."""
        found = replace(self, run_id=run_id, was_moved=False)
        _write(folder, found, runs_dir)
        return found


def read(folder: Path, runs_dir: Path) -> Identity | None:
    """What `mlflow.json` says; None when there is none, one that cannot be used, or one that was copied here."""
    try:
        return _read(folder, runs_dir)
    except UsageError:
        return None


def _read(folder: Path, runs_dir: Path) -> Identity | None:
    from codctl.files import forms as files

    content = reader.read(folder / FILE, files.MlflowRun)
    if content is None:
        return None
    uri, written = content["uri"], content.get("place")
    if uri == f"sqlite:///{uris.database(runs_dir)}":  # an older codctl wrote the whole path
        uri = None
    if place.is_copied(folder, _place(written, runs_dir, uri), everywhere=uri is not None):
        return None
    was_moved = written is None or written.get("inside") != _inside(folder, runs_dir)
    return Identity(content.get("key", ""), uri, content["experiment"], content["run_id"], was_moved)


def settle(folder: Path, tracking: TrackingConfig, runs_dir: Path) -> tuple[Identity, bool]:
    """The identity of a folder, made and written when there is none for this address, and whether it is new."""
    try:
        found = _read(folder, runs_dir)
    except UsageError as error:
        log.warning("%s (%s): it gets a new MLflow run", error.message, error.where)
        found = None
    if found and tracking.mlflow_uri in (None, found.uri):
        return found, False
    new = Identity(uuid.uuid4().hex, uris.to_store(tracking.mlflow_uri), tracking.experiment)
    _write(folder, new, runs_dir)
    return new, True


def place_tag(folder: Path, runs_dir: Path) -> str:
    """Where a folder is, for its MLflow run to keep: what a folder says of itself can be copied or forged."""
    found = {**place.of(folder), "inside": _inside(folder, runs_dir)}
    return json.dumps({name: found[name] for name in ("path", "inode", "inside", "host")})


def is_elsewhere(folder: Path, tag: str, runs_dir: Path, uri: str | None) -> bool:
    """Whether an MLflow run with this `place_tag` is that of another folder, of which this one may be a copy."""
    try:
        written = _place(json.loads(tag), runs_dir, uri)
        path, inode = Path(written["path"]), written["inode"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return True
    if place.is_copied(folder, written, everywhere=uri is not None):
        return True
    is_foreign = uri is not None and written.get("host") != socket.gethostname()
    if is_foreign and not place.is_at_home(folder, written):  # the same path on another machine
        return True
    with contextlib.suppress(OSError):
        return bool(path != folder.resolve() and path.stat().st_ino == inode)
    return False


def _place(written: Any, runs_dir: Path, uri: str | None) -> Any:
    """Where it was written. A sqlite file in the runs folder moves with it, and so do the paths below."""
    if uri is None and isinstance(written, Mapping) and "inside" in written:
        return {**written, "path": str(runs_dir.resolve() / written["inside"])}
    return written


def _inside(folder: Path, runs_dir: Path) -> str:
    return os.path.relpath(folder.resolve(), runs_dir.resolve())


def _write(folder: Path, identity: Identity, runs_dir: Path) -> None:
    content = {
        "schema": 2,
        "run_id": identity.run_id,
        "uri": identity.uri,
        "experiment": identity.experiment,
        "key": identity.key,
        "place": {**place.of(folder), "inside": _inside(folder, runs_dir)},
    }
    atomic.write_json(folder / FILE, content)
