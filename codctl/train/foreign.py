"""What a run that was made elsewhere does not decide: which servers are contacted, what a job executes, which code is
imported, and which files and servers its worlds use.

It may have been sent by a stranger, so these settings of its config do not count. A copy of a run, and one that was
moved here from another disk, look the same: there the user gives them again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from codctl.config.registries import plug_ins
from codctl.errors import RefusedError
from codctl.trust import TRUSTED

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.runs.directory import RunDirectory

_SERVERS = ("engine.servers", "engine.options")
_WORLD = "world.options"  # files that are read, judges that are contacted, with keys from the environment
_JOB = ("cluster.setup", "cluster.extras")


def refuse(run: RunDirectory, config: Config, *, as_job: bool) -> None:
    """Refuse to continue a run that was made elsewhere, where that would need such a setting.

    Raises:
        RefusedError: Its config imports code that the user has not named, or names servers, or what a job executes and
            `as_job`.
        PreflightError: Its model would be fetched from the hub.
    """
    hint = f"codctl train YOUR_RECIPE --fork {shlex.quote(run.title)} --name NEW continues it with your own settings"
    for key, registry, name in plug_ins(config):
        if not registry.is_trusted(name):
            raise RefusedError(
                f"this run was made in another folder, so its {key} is not imported: {name}",
                where=str(run.path / "config.json"),
                hint=f"if you trust it: export {TRUSTED}={name}",
            )
    found, _ = withheld(run, config)
    _refuse(found, (*_SERVERS, _WORLD, *(_JOB if as_job else ())), str(run.path / "config.json"), hint)
    if config.model.path is not None and not run.is_at_home():
        from codctl.models import hub

        hub.located(config.model.path, config.model.revision, weights=config.model.init == "weights")


def withheld(run: RunDirectory, config: Config) -> tuple[dict[str, Any], Config]:
    """The settings of a run made elsewhere that do not count, by key, and its config without them."""
    if run.is_at_home():
        return {}, config
    found = {key: value for key in (*_SERVERS, *_JOB) if (value := _get(config, key))}
    if named := [f"{part.family}: {part.options}" for part in config.world.parts if part.options]:
        found[_WORLD] = named
        config = config.model_copy(update={"world": config.world.without_options()})
    if found:
        engine = config.engine.model_copy(update={"servers": (), "options": {}})
        cluster = config.cluster.model_copy(update={"setup": (), "extras": {}})
        config = config.model_copy(update={"engine": engine, "cluster": cluster})
    return found, config


def refuse_servers(found: Mapping[str, Any], config: Config, where: str) -> None:
    """Refuse an engine whose servers do not count, unless the user has named others.

    Raises:
        RefusedError: Says which.
    """
    if not config.engine.servers:
        hint = "codctl eval --run RUN engine.servers=[URL] or engine.kind=transformers chooses another engine"
        _refuse(found, _SERVERS, where, hint)


def refuse_job(found: Mapping[str, Any], config: Config, where: str) -> None:
    """Refuse a job that would lack its commands or options, unless the user has given others.

    Raises:
        RefusedError: Says which.
    """
    missing = [key for key in _JOB if not _get(config, key)]
    _refuse(found, missing, where, "leave out --slurm or --on, or add cluster.setup=[...] to the command")


def _refuse(found: Mapping[str, Any], keys: Iterable[str], where: str, hint: str) -> None:
    for key in keys:
        if key in found:
            raise RefusedError(
                f"this run was made in another folder, so its {key} is not used: {_shown(found[key])}",
                where=where,
                hint=hint,
            )


def _get(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name}={one}" for name, one in value.items()]
    return "; ".join(value)
