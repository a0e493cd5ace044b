"""Where config groups are looked for: the user's own folder first, then the package."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_CLUSTER = "CODCTL_CLUSTER"


def user_folder() -> Path:
    """Where a user's own groups live: `cluster/NAME.yaml` below it is the profile NAME."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "codctl"


def search_path() -> str:
    """Hydra's search path, as an override."""
    quoted = str(user_folder()).replace("\\", "\\\\").replace("'", "\\'")
    own = [f"'file://{quoted}'"] if user_folder().is_dir() else []
    return f"hydra.searchpath=[{','.join([*own, 'pkg://codctl.config.groups'])}]"


def standing_choices(chosen: Collection[str]) -> list[str]:
    """What the environment chooses where nobody else did: the profile of the cluster that one works on.

    Args:
        chosen: Groups that the recipe or the command line chooses from.
    """
    profile = os.environ.get(_CLUSTER, "")
    return [f"+cluster={profile}"] if profile and "cluster" not in chosen else []
