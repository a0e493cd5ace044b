"""Which MLflow servers the user has chosen: only these are contacted, and only these get his password.

A run's folder may have been handed over, so the address in it decides nothing. What counts is MLFLOW_TRACKING_URI, and
what the user's own recipes and command lines have named: that is written down in his home, as ssh does with hosts.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from codctl.config.credentials import without_credentials
from codctl.errors import BackendError, CodctlError
from codctl.files import atomic

URI = "MLFLOW_TRACKING_URI"
_HERE = "CODCTL_MLFLOW_SERVERS"
_WEB_PORTS = {"http": 80, "https": 443}
_MOST_BYTES = 100_000


def remember(addresses: Iterable[str | None]) -> None:
    """Note the servers that the user's own recipe, command line or environment names, for when the run is resumed.

    Where his home cannot be written to, only the processes that this one starts know them.
    """
    known = _known()
    chosen = [*addresses, os.environ.get(URI)]
    named = {server_of(address) for address in chosen if address and address.isprintable()}
    if named - known:
        text = "\n".join(sorted(known | named))
        try:
            path = _file()
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(path, f"{text}\n")
        except (CodctlError, OSError, RuntimeError):
            os.environ[_HERE] = text


def check(address: str) -> None:
    """Refuse a server that only a run's folder names.

    Raises:
        BackendError: The user has not chosen it.
    """
    server, given = server_of(address), os.environ.get(URI)
    if not (given and server_of(given) == server) and server not in _known():
        shown = without_credentials(address)
        raise BackendError(
            f"{shown or 'an empty address'} is not contacted: only the run's folder names this MLflow server",
            hint=f"if you trust it: export {URI}={shlex.quote(shown)}",
        )


def server_of(address: str) -> str:
    """Scheme, host and port of a web server; of anything else the address itself. Never a password."""
    plain = without_credentials(address)
    try:
        parts = urlsplit(plain)
        if parts.scheme in _WEB_PORTS:
            return f"{parts.scheme}://{parts.hostname}:{parts.port or _WEB_PORTS[parts.scheme]}"
    except ValueError:  # a port that is no number
        pass
    return plain


def _file() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codctl" / "mlflow-servers"


def _known() -> set[str]:
    found = set(os.environ.get(_HERE, "").splitlines())
    with contextlib.suppress(OSError, ValueError, RuntimeError), _file().open(encoding="utf-8") as file:
        found |= set(file.read(_MOST_BYTES).splitlines())
    return found
