"""Where Hydra finds the groups and recipes that a recipe builds on (the user's own first), and how it reads them."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cache
from pathlib import Path

from codctl.config.explain import sections
from codctl.config.recipes import recipes_folder
from codctl.config.yaml_files import excess_of, read_source

_CLUSTER = "CODCTL_CLUSTER"
_GROUPS = Path(__file__).parent / "groups"


def user_folder() -> Path:
    """Where a user's own groups live: `cluster/NAME.yaml` below it is the profile NAME."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "codctl"


def search_path() -> str:
    """Hydra's search path, as an override."""
    own = [_quoted(user_folder())] if user_folder().is_dir() else []
    return f"hydra.searchpath=[{','.join([*own, 'pkg://codctl.config.groups', _quoted(recipes_folder())])}]"


def whole_groups() -> dict[str, frozenset[str]]:
    """Groups that set keys of several sections, such as `size`: their names, and the keys that any choice sets."""
    return _whole_groups(_GROUPS, user_folder())


@cache
def _whole_groups(*folders: Path) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*.yaml")):
            if path.parent.name not in sections():
                found[path.parent.name] = found.get(path.parent.name, frozenset()) | _keys(path)
    return found


def _keys(path: Path) -> frozenset[str]:
    """The dotted keys of values in a file; none of one that cannot be read: composing it says why."""
    lines = read_source(path, path.name).lines
    return frozenset(key for key in lines if not any(other.startswith(f"{key}.") for other in lines))


def _quoted(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{escaped}'"


def standing_choices(chosen: Collection[str]) -> list[str]:
    """What the environment chooses where nothing else did: the profile of the cluster that one works on.

    Args:
        chosen: Groups that the recipe or the command line chooses from.
    """
    profile = os.environ.get(_CLUSTER, "")
    return [f"+cluster={profile}"] if profile and "cluster" not in chosen else []


def read_within_limits() -> None:
    """Let Hydra read the files that a recipe builds on within the limits of `yaml_files`.

    Hydra looks a source up by its scheme in a registry that it gives no public way into.
    """
    from hydra._internal.core_plugins.file_config_source import FileConfigSource as Unlimited
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.errors import HydraException
    from hydra.plugins.config_source import ConfigResult

    class FileConfigSource(Unlimited):  # Hydra tells its own reader by this name
        def load_config(self, config_path: str) -> ConfigResult:
            import yaml

            path = Path(self.path, self._normalize_file_name(config_path)).resolve()
            if not path.is_file():
                return super().load_config(config_path)  # which says that it is not there
            try:
                excess = excess_of(path.read_text(encoding="utf-8"))
                if excess is None:
                    return super().load_config(config_path)
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise HydraException(f"{path}: broken YAML: {error}") from None
            raise HydraException(f"{path}:{excess.line}: {excess.message}")

    SourcesRegistry.instance().types["file"] = FileConfigSource
