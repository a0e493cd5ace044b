"""Where MLflow is, without what must not be written down."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from codctl.config.credentials import without_credentials
from codctl.tracking import servers
from codctl.tracking.servers import URI

_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
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
        return f"sqlite:///{database(runs_dir)}"
    servers.check(stored)
    given = os.environ.get(URI, "")
    if not given or servers.server_of(given) != servers.server_of(stored):
        return stored
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https"):
        return given  # a database takes them from its address alone
    for name, value in ((_USER, parts.username), (_PASSWORD, parts.password)):
        if value and name not in os.environ:
            os.environ[name] = unquote(value)
            _lent.add(name)
    return stored


def database(runs_dir: Path) -> Path:
    """The sqlite file of a runs folder, by a path that an address can hold.

    Libraries disagree about how `?`, `%` and `#` are written in one, so a link without them leads there.
    """
    folder = runs_dir.resolve()
    path = str(folder)
    is_plain = path.isprintable() and not set("?%#") & set(path)
    return (folder if is_plain else _link_to(folder)) / "mlflow.db"


@cache
def _link_to(folder: Path) -> Path:
    place = Path(tempfile.mkdtemp(prefix="codctl-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = place / "runs"
    link.symlink_to(folder, target_is_directory=True)
    return link
