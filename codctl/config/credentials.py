"""Secrets stay out of files: users and passwords in addresses, and what a recipe may take from the environment.

What a config holds is written into plain files, shown on pages and by trackers, and published in model cards."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from codctl.errors import Problem

_IN_TEXT = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_NAME = re.compile(
    r"(KEYS?|TOKENS?)(_|$)|(^|_)(PASS|PWD|PAT|DSN|AUTH|COOKIE)(_|$)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL",
    re.IGNORECASE,
)
_HARMLESS = {"PWD", "OLDPWD"}
_SHORTEST = 8  # of a secret that is looked for: shorter ones turn up in texts by chance
_HINT = "codctl and the jobs that it starts read secrets from the environment; a config holds none"


def has_credentials(uri: str) -> bool:
    """Whether an address holds a password, or for a web server anything before the @."""
    parts = urlsplit(uri)
    return parts.password is not None or (parts.scheme in ("http", "https") and "@" in parts.netloc)


def without_credentials(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def redacted(text: str) -> str:
    """Text without the user and password of any address in it."""
    return _IN_TEXT.sub("", text)


class SecretError(Exception):
    """A recipe asks for a variable that looks like a secret."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"recipes cannot read {name}: {why}")


def guard_variables() -> None:
    """Let `${oc.env:NAME}` refuse variables that look like secrets. Call it before anything is resolved."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def env(name: str, *default: Any) -> Any:
        if is_secret(name):
            raise SecretError(name, "the name is that of a secret")
        value = os.environ.get(name, "")
        if redacted(value) != value:
            raise SecretError(name, "its value holds a password")
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)


def refusal(error: BaseException | None, key: str, where: str) -> Problem | None:
    """What to say when a SecretError is at the bottom of an error; else None."""
    while error is not None:
        if isinstance(error, SecretError):
            return Problem(f"{key}: {error}" if key else str(error), where, _HINT)
        error = error.__cause__ or error.__context__
    return None


def is_secret(name: str) -> bool:
    """Whether a variable is likely to hold a secret, by its name."""
    return name not in _HARMLESS and _SECRET_NAME.search(name) is not None


def secrets_in(values: Mapping[str, Any], where: str) -> list[Problem]:
    """The keys of a config whose text holds the value of a secret variable, however it came there."""
    secrets = {value: name for name, value in os.environ.items() if is_secret(name) and len(value) >= _SHORTEST}
    return [
        Problem(f"{key}: it holds the value of {name}", where, _HINT)
        for key, text in _texts(values, "")
        for secret, name in secrets.items()
        if secret in text
    ]


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)
