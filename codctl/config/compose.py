"""Turn a recipe and overrides into a validated config, or into the list of everything that is wrong with them.

Hydra composes (defaults lists, groups, overrides); it does not validate, and its hints teach users to add typos.
So every override is forced in and the closed schema says what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codctl import trust
from codctl.config.credentials import guard_variables, refusal, secrets_in
from codctl.config.names import plain
from codctl.config.overrides import Override, parse_overrides
from codctl.config.problems import Places, findings, usage_error
from codctl.config.recipes import Recipe, find_recipe
from codctl.config.schema import Config
from codctl.config.search import read_within_limits, search_path, standing_choices
from codctl.config.yaml_files import Source, interpolates_too_much, read_source
from codctl.errors import Problem, UsageError


@dataclass(frozen=True)
class Draft:
    """A composed recipe that is not validated yet: on it, many configs are made without composing again.

    Attributes:
        values: Resolved, as plain data.
        template: The same with its interpolations; None when there are none.
        shown: How messages name the recipe.
        lines: Line of each key of its file.
        overrides: With which it was composed.
        texts: Values of its file as they are written.
    """

    values: dict[str, Any]
    template: dict[str, Any] | None
    shown: str
    lines: Mapping[str, int]
    overrides: tuple[Override, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    def config(self, changes: Sequence[Override] = ()) -> Config:
        """Set more values, in this order, and validate.

        Raises:
            UsageError: With all problems at once.
        """
        values = self.values if self.template is None or not changes else self.template
        for change in changes:
            values = _with(values, change.key.split("."), change.value)
        if changes and self.template is not None:
            values = _resolved(values, self.shown)
        if problems := secrets_in(values, self.shown):
            raise usage_error(self.shown, problems)
        trust.remember_imports(values)  # the user's own recipe and command line name them
        try:
            return Config.model_validate(values)
        except ValidationError as error:
            places = Places(self.shown, self.lines, [*self.overrides, *changes], texts=self.texts)
            raise usage_error(self.shown, findings(error, places)) from None


def load_config(recipe: str, overrides: Sequence[str] = ()) -> Config:
    """Compose and validate a recipe. A recipe without a name is named after its file.

    Args:
        recipe: Path of a YAML file, or the name of a shipped recipe.
        overrides: `key=value` each, as typed on the command line.

    Raises:
        UsageError: With all problems at once, each with its place, what was expected and the nearest valid key.
    """
    parsed, problems = parse_overrides(overrides, sweep=f"codctl sweep {recipe}")
    drafted = draft(recipe, parsed, problems)
    try:
        config = drafted.config()
    except UsageError as error:
        raise usage_error(drafted.shown, [*error.problems, *problems]) from None
    if problems:
        raise usage_error(drafted.shown, problems)
    return config


def draft(recipe: str, overrides: Sequence[Override] = (), problems: Sequence[Problem] = ()) -> Draft:
    """Compose a recipe.

    Args:
        recipe: Path of a YAML file, or the name of a shipped recipe.
        overrides: What to compose it with; all names of config groups are among them.
        problems: Found before, for the message if composing fails as well.

    Raises:
        UsageError: It cannot be composed.
    """
    try:
        found = find_recipe(recipe)
    except UsageError as error:
        raise usage_error(recipe, [Problem(error.message, error.where, error.hint), *problems]) from None
    shown = recipe if Path(recipe).is_file() else f"{found.name}.yaml"
    source = read_source(found.path, shown)
    if source.problem:
        raise usage_error(shown, [source.problem, *problems])
    values, template, problem = _compose(found, overrides, source, shown)
    if problem:
        raise usage_error(shown, [problem, *problems])
    name = plain(found.path.stem).lstrip("._-") or "run"
    written = None if template == values else {"name": name, **template}
    return Draft({"name": name, **values}, written, shown, source.lines, tuple(overrides), source.texts)


def _with(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The same tree with one value set; a section is merged, as Hydra does."""
    here, *rest = path
    before = values.get(here)
    if rest:
        return {**values, here: _with(before if isinstance(before, dict) else {}, rest, value)}
    if isinstance(value, dict) and isinstance(before, dict):
        for key, inner in value.items():
            before = _with(before, [str(key)], inner)
        return {**values, here: before}
    return {**values, here: value}


def _resolved(values: dict[str, Any], shown: str) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    guard_variables()
    try:
        return _named(OmegaConf.to_container(OmegaConf.create(values), resolve=True))
    except OmegaConfBaseException as error:
        raise usage_error(shown, [_problem(error, Places(shown, {}, []))]) from None


def _compose(
    recipe: Recipe, overrides: Sequence[Override], source: Source, shown: str
) -> tuple[dict[str, Any], dict[str, Any], Problem | None]:
    """Compose with Hydra to plain data, resolved and as written; no global state stays behind."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name = recipe.path.stem
    read_within_limits()
    GlobalHydra.instance().clear()  # of whatever else in this process uses Hydra
    guard_variables()
    try:
        with initialize_config_dir(str(recipe.path.parent), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            search = search_path()
            texts = [search, *standing_choices({*source.groups, *(override.key for override in overrides)})]
            for override in overrides:
                is_group = "." not in override.key and loader.get_group_options(
                    override.key, config_name=name, overrides=[search]
                )
                mark = "++" if not is_group else "" if override.key in source.groups else "+"
                texts.append(mark + override.bare)
            composed = compose(name, texts)
            template = OmegaConf.to_container(composed, resolve=False)
            if interpolates_too_much(_named(template)):
                return {}, {}, Problem("too much for a recipe: its ${…} stand for too many values", shown)
            values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        return {}, {}, _problem(error, Places(shown, source.lines, overrides))
    except HydraException as error:
        return {}, {}, refusal(error, "", shown) or Problem(_in_short(error), shown)
    # OmegaConf also admits numbers as keys; the schema refuses them by name.
    return _named(values), _named(template), None


def _problem(error: Exception, places: Places) -> Problem:
    """What OmegaConf found, with the key and where it was written."""
    key = str(getattr(error, "full_key", "") or "")
    where = places.of(key, key)
    return refusal(error, key, where) or Problem(f"{key}: {_in_short(error)}" if key else _in_short(error), where)


def _named(values: Any) -> dict[str, Any]:
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def _in_short(error: Exception) -> str:
    """Hydra's message on one line, without its list of search paths and OmegaConf's list of types."""
    text = str(error).partition("Config search path")[0].partition("    full_key:")[0]
    return " ".join(text.split()) or type(error).__name__
