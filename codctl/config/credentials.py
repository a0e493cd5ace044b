"""Users and passwords in addresses: they are not written down."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_IN_TEXT = re.compile(r"(?<=://)[^/\s@]+@")


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
