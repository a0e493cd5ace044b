"""Which MLflow run mirrors a folder: `mlflow.json`, written whole, before and after the MLflow run is made.

The key is written first and given to MLflow as a tag. When the answer to "make a run" is lost, the run is found by it.
The folder is written down too: in a copy of it the file counts for nothing, so that the copy gets an MLflow run of its
own.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.runs import atomic, place
from codctl.tracking import uri as uris

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig

FILE = "mlflow.json"
KEY_TAG = "codctl.key"


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
    """What `mlflow.json` says; None when there is none, one that cannot be read, or one that was copied here."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        uri, run_id = content["uri"], content["run_id"]
        if uri == uris.to_connect(None, runs_dir):  # an older codctl wrote the whole path
            uri = None
        if place.is_copied(folder, _place(content, runs_dir, uri), everywhere=uri is not None):
            return None
        was_moved = (content.get("place") or {}).get("inside") != _inside(folder, runs_dir)
        return Identity(str(content.get("key", "")), uri, str(content["experiment"]), run_id, was_moved)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def settle(folder: Path, tracking: TrackingConfig, runs_dir: Path) -> tuple[Identity, bool]:
    """The identity of a folder, made and written when there is none for this address, and whether it is new."""
    found = read(folder, runs_dir)
    if found and tracking.mlflow_uri in (None, found.uri):
        return found, False
    new = Identity(uuid.uuid4().hex, uris.to_store(tracking.mlflow_uri), tracking.experiment)
    _write(folder, new, runs_dir)
    return new, True


def _place(content: Mapping[str, Any], runs_dir: Path, uri: str | None) -> Any:
    """Where it was written. A sqlite file in the runs folder moves with it, and so do the paths below."""
    written = content.get("place")
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
