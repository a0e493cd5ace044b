"""Where config groups are looked for: the user's own folder first, then the package; and recipes to build on."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cache
from pathlib import Path

from codctl.config.explain import sections
from codctl.config.recipes import recipes_folder
from codctl.config.source import read_source

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
    """The dotted keys of values in a file; none of one that cannot be read, which whoever composes it says."""
    lines = read_source(path, path.name).lines
    return frozenset(key for key in lines if not any(other.startswith(f"{key}.") for other in lines))


def _quoted(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{escaped}'"


def standing_choices(chosen: Collection[str]) -> list[str]:
    """What the environment chooses where nobody else did: the profile of the cluster that one works on.

    Args:
        chosen: Groups that the recipe or the command line chooses from.
    """
    profile = os.environ.get(_CLUSTER, "")
    return [f"+cluster={profile}"] if profile and "cluster" not in chosen else []
