"""A composed config as plain data, and the digest over what changes the result."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from pydantic import ValidationError

from codctl.config.explain import field_docs
from codctl.config.schema import Config
from codctl.errors import UsageError

# Bump when the same config starts to mean another result: old digests then no longer match.
IDENTITY_VERSION = 1


def identity_fields(config: Config) -> dict[str, Any]:
    """The values that change the result, by dotted key."""
    tree, defaults = config.model_dump(mode="json"), _defaults()
    found = {doc.key: _value(tree, doc.key) for doc in field_docs() if doc.field_class == "identity"}
    return {key: value for key, value in found.items() if key not in defaults or value != defaults[key]}


def digest(config: Config) -> str:
    """Hash the identity fields: 16 hex digits, the same in every process and Python version."""
    identity = {"version": IDENTITY_VERSION, "fields": identity_fields(config)}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def changed_identity(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The identity fields that differ, with their old and new values."""
    before, after = identity_fields(old), identity_fields(new)
    keys = sorted({*before, *after})
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def freeze(config: Config) -> dict[str, Any]:
    """The whole config as plain data, fit for JSON."""
    return config.model_dump(mode="json")


def thaw(frozen: dict[str, Any]) -> Config:
    """Read a frozen config back; a key that did not exist when it was written takes its default.

    Raises:
        UsageError: When it does not fit this codctl's schema.
    """
    try:
        return Config.model_validate(frozen)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the frozen config does not fit this codctl: {key}: {first['msg']}",
            hint="start the run again from its recipe, with --fresh",
        ) from error


@cache
def _defaults() -> dict[str, Any]:
    """Defaults of the identity fields that were added later."""
    tree = Config().model_dump(mode="json")
    return {doc.key: _value(tree, doc.key) for doc in field_docs() if doc.is_added}


def _value(tree: dict[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value
