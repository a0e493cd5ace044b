"""Which trackers the user has chosen: only these are used and contacted, and only these get his password.

A run's folder may have been handed over, so what it names decides nothing. What counts is the environment, and what the
user's own recipes and command lines have named: that is written down in his home, as ssh does with hosts.
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

TRUSTED = "CODCTL_TRACKERS"  # further addresses, one a line
_WEB_PORTS = {"http": 80, "https": 443}
_MOST_BYTES = 100_000


def remember(addresses: Iterable[str | None]) -> None:
    """Note what the user's own recipe, command line or environment names, for when the run is resumed.

    Where his home cannot be written to, only the processes that this one starts know them.
    """
    known = _known()
    named = {server_of(address) for address in addresses if address and address.isprintable()}
    if named - known:
        text = "\n".join(sorted(known | named))
        try:
            path = _file()
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(path, f"{text}\n")
        except (CodctlError, OSError, RuntimeError):
            os.environ[TRUSTED] = text


def check(address: str, variable: str = TRUSTED) -> None:
    """Refuse what only a run's folder names.

    Args:
        address: Of a server, or another name for what is contacted.
        variable: The environment variable with which a user chooses it.

    Raises:
        BackendError: The user has not chosen it.
    """
    if not is_chosen(address, variable):
        shown = without_credentials(address)
        raise BackendError(
            f"{shown or 'an empty address'} is not contacted: only the run's folder names this tracker",
            hint=f"if you trust it: export {variable}={shlex.quote(shown)}",
        )


def is_chosen(address: str, variable: str = TRUSTED) -> bool:
    """Whether the user's recipes, command lines or environment name it."""
    server, given = server_of(address), os.environ.get(variable)
    return bool(given and server_of(given) == server) or server in _known()


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
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codctl" / "trackers"


def _known() -> set[str]:
    found = {server_of(line) for line in os.environ.get(TRUSTED, "").splitlines()}
    with contextlib.suppress(OSError, ValueError, RuntimeError), _file().open(encoding="utf-8") as file:
        found |= set(file.read(_MOST_BYTES).splitlines())
    return found
