"""A composed config as plain data, and its digests.

Three digests, each over the fields that matter for one question:

* `training_digest`: what is learned, step by step. A run keeps it for life; only `--fresh` or another name changes it.
* `evaluation_digest`: how the result is measured. Another one on the same run evaluates it again.
* `digest`: both, and how far the training goes. Equal digests give equal results; sweeps know their trials by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from codctl.config.defaults import TURN_PENALTY, warm_start_lr
from codctl.config.explain import field_docs
from codctl.config.names import why_reserved
from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.seeds import text_digest

# Bump when the same config starts to mean another result: old digests then no longer match.
IDENTITY_VERSION = 1

_SCHEMA = 2
# In schema 1 these were names of codctl's own returns; now they are those of the published ones.
_RENAMED_RETURNS = {"window": "window_of_tasks", "discounted": "discounted_tasks"}

_RESULT = frozenset({"training", "length", "gate", "evaluation"})


def identity_fields(config: Config) -> dict[str, Any]:
    """The values that change the result, by dotted key."""
    return _fields(config, _RESULT)


def training_fields(config: Config) -> dict[str, Any]:
    """The values that change what a training step computes, by dotted key. A gate does only where it skips steps."""
    gates = _fields(config, frozenset({"gate"}))
    skipping = {key.rpartition(".")[0] for key, value in gates.items() if value == "skip"}
    kept = {key: value for key, value in gates.items() if key.rpartition(".")[0] in skipping}
    return {**_fields(config, frozenset({"training"})), **kept}


def digest(config: Config) -> str:
    """Hash the identity fields: 16 hex digits, the same in every process and Python version."""
    return _hash(identity_fields(config))


def training_digest(config: Config) -> str:
    """Hash what a training step depends on; the same for any number of steps (but see `config.defaults`)."""
    return _hash(training_fields(config))


def evaluation_digest(config: Config) -> str:
    """Hash how the result is measured."""
    return _hash(_fields(config, frozenset({"evaluation"})))


def changed_identity(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The identity fields that differ, with their old and new values."""
    return _changed(identity_fields(old), identity_fields(new))


def changed_training(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The fields that differ and change what a training step computes, with their old and new values."""
    return _changed(training_fields(old), training_fields(new))


def changed_resources(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The fields that differ and change no result, with their old and new values."""
    classes = frozenset({"resource", "cosmetic"})
    return _changed(_fields(old, classes), _fields(new, classes))


def freeze(config: Config) -> dict[str, Any]:
    """The whole config as plain data, fit for JSON."""
    return config.model_dump(mode="json")


def frozen_file(config: Config) -> dict[str, Any]:
    """What a run's config.json holds."""
    return {
        "schema": _SCHEMA,
        "digest": digest(config),
        "training_digest": training_digest(config),
        "evaluation_digest": evaluation_digest(config),
        "config": freeze(config),
    }


def thaw(file: Mapping[str, Any], where: str = "") -> Config:
    """Read what a config.json holds; a key that did not exist when it was written takes its default.

    Raises:
        UsageError: When it does not fit this codctl's schema.
    """
    try:
        return Config.model_validate(_renamed(file))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the frozen config does not fit this codctl: {key}: {first['msg']}",
            where=where,
            hint="start over from the recipe with --fresh",
        ) from error


def _renamed(file: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a file, in the words of today's schema."""
    config = dict(file["config"])
    if why_reserved(str(config.get("name"))):
        del config["name"]  # made before the name was reserved; a run is called as its folder is
    train = config.get("train")
    credit = train.get("credit") if isinstance(train, Mapping) else None
    if file.get("schema") == 1 and isinstance(train, Mapping) and isinstance(credit, Mapping):
        returns = credit.get("returns")
        config["train"] = {**train, "credit": {**credit, "returns": _RENAMED_RETURNS.get(str(returns), returns)}}
    return config


def _hash(fields: Mapping[str, Any]) -> str:
    identity = {"version": IDENTITY_VERSION, "fields": fields}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text_digest(canonical)


def _fields(config: Config, classes: frozenset[str]) -> dict[str, Any]:
    """Values of the fields of some classes; one that was added later only where it is not at its default."""
    tree, defaults = config.model_dump(mode="json"), _defaults()
    tree["warm_start"]["lr"] = warm_start_lr(config)
    # Null was this number before families had their own price; where that is 0, the number has no effect either.
    reward = tree["train"]["reward"]
    reward["turn_penalty"] = TURN_PENALTY if reward["turn_penalty"] is None else reward["turn_penalty"]
    for part in tree["world"]["mixture"]:
        if part["turn_penalty"] is None:
            del part["turn_penalty"]
    found = {doc.key: _value(tree, doc.key) for doc in field_docs() if doc.field_class in classes}
    return {key: value for key, value in found.items() if key not in defaults or value != defaults[key]}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted({*before, *after})
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


@cache
def _defaults() -> dict[str, Any]:
    """Defaults of the fields that were added later."""
    tree = Config().model_dump(mode="json")
    return {doc.key: _value(tree, doc.key) for doc in field_docs() if doc.is_added}


def _value(tree: dict[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value
