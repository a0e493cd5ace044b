"""What the user has chosen: trackers that are contacted and get his password, and plug-ins that are imported.

A run's folder may have been handed over, so what it names decides nothing. What counts is the environment, and what the
user's own recipes, suites and command lines have named: that is written down in his home, as ssh does with hosts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codctl.config.credentials import without_credentials
from codctl.errors import BackendError, CodctlError
from codctl.files import atomic

TRUSTED = "CODCTL_TRUSTED"  # further addresses and import paths, one a line
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
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
            allow(named)


def remember_imports(values: Any) -> None:
    """Note every `package.module:object` in what the user has written."""
    if found := set(import_paths(values)):
        remember(found)


def allow(names: Iterable[str]) -> None:
    """Let this process, and those that it starts, use what a run names that was made in this very folder."""
    os.environ[TRUSTED] = "\n".join(sorted({*os.environ.get(TRUSTED, "").splitlines(), *names} - {""}))


def import_paths(values: Any) -> Iterator[str]:
    """Every `package.module:object` in plain data."""
    if isinstance(values, str):
        if IMPORT_PATH.fullmatch(values):
            yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from import_paths(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from import_paths(value)


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
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codctl" / "trusted"


def _known() -> set[str]:
    found = {server_of(line) for line in os.environ.get(TRUSTED, "").splitlines()}
    with contextlib.suppress(OSError, ValueError, RuntimeError), _file().open(encoding="utf-8") as file:
        found |= set(file.read(_MOST_BYTES).splitlines())
    return found
