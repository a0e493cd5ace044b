"""Turn a recipe and overrides into a validated config, or into the list of everything that is wrong with them.

Hydra composes (defaults lists, groups, overrides); it does not validate, and its hints teach users to add typos.
So every override is forced in and the closed schema says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codctl.config.findings import Places, findings, usage_error
from codctl.config.overrides import Override, parse_overrides
from codctl.config.recipes import Recipe, find_recipe
from codctl.config.schema import Config
from codctl.config.source import Source, read_source
from codctl.errors import Problem, UsageError

_SEARCH = "hydra.searchpath=[pkg://codctl.config.groups]"


def load_config(recipe: str, overrides: Sequence[str] = ()) -> Config:
    """Compose and validate a recipe. A recipe without a name is named after its file.

    Args:
        recipe: Path of a YAML file, or the name of a shipped recipe.
        overrides: `key=value` each, as typed on the command line.

    Raises:
        UsageError: With all problems at once, each with its place, what was expected and the nearest valid key.
    """
    parsed, problems = parse_overrides(overrides)
    try:
        found = find_recipe(recipe)
    except UsageError as error:
        raise usage_error(recipe, [Problem(error.message, error.where, error.hint), *problems]) from None
    shown = recipe if Path(recipe).is_file() else f"{found.name}.yaml"
    source = read_source(found.path, shown)
    if source.problem:
        raise usage_error(shown, [source.problem, *problems])
    values, problem = _compose(found, parsed, source, shown)
    if problem:
        raise usage_error(shown, [problem, *problems])
    values.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", found.path.stem).lstrip("._-") or "run")
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        found_too = findings(error, Places(shown, source.lines, parsed))
        raise usage_error(shown, [*found_too, *problems]) from None
    if problems:
        raise usage_error(shown, problems)
    return config


def _compose(
    recipe: Recipe, overrides: Sequence[Override], source: Source, shown: str
) -> tuple[dict[str, Any], Problem | None]:
    """Compose with Hydra and resolve to plain data; leaves no global state and the working directory alone."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name = recipe.path.stem
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(recipe.path.parent), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            texts = []
            for override in overrides:
                is_group = "." not in override.key and loader.get_group_options(
                    override.key, config_name=name, overrides=[_SEARCH]
                )
                mark = "++" if not is_group else "" if override.key in source.groups else "+"
                texts.append(mark + override.bare)
            composed = compose(name, [_SEARCH, *texts])
            values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        where = f"{shown}:{source.lines[key]}" if key in source.lines else shown
        return {}, Problem(f"{key}: {_in_short(error)}" if key else _in_short(error), where)
    except HydraException as error:
        return {}, Problem(_in_short(error), shown)
    finally:
        GlobalHydra.instance().clear()
    # OmegaConf also admits numbers as keys; the schema refuses them by name.
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}, None


def _in_short(error: Exception) -> str:
    """Hydra's message on one line, without its list of search paths and OmegaConf's list of types."""
    text = str(error).partition("Config search path")[0].partition("    full_key:")[0]
    return " ".join(text.split()) or type(error).__name__
