"""Where studies are: shipped ones by name, others by path; and whether a YAML file is a study or a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codctl.config.recipes import find_recipe, recipes_folder
from codctl.config.schema import Config
from codctl.config.sweepspec import StudyFile
from codctl.errors import UsageError

USUAL = "generalization"
_FILE = "study.yaml"
_OWN_KEYS = frozenset(StudyFile.model_fields) - frozenset(Config.model_fields)


@dataclass(frozen=True)
class StudyRef:
    """A study file, and how messages name it."""

    path: Path
    shown: str


def studies_folder() -> Path:
    """The shipped studies: beside the recipes, in a checkout as when installed."""
    recipes = recipes_folder()
    return recipes.parent / ("_experiments" if recipes.name.startswith("_") else "experiments")


def shipped_studies() -> dict[str, Path]:
    """The file of each shipped study, by name."""
    return {path.parent.name: path for path in sorted(studies_folder().glob(f"*/{_FILE}"))}


def find_study(name_or_path: str | None) -> StudyRef | None:
    """The study that a user means; None when a recipe is meant. Nothing named means the usual one.

    Raises:
        UsageError: It is neither a study nor a recipe.
    """
    shipped = shipped_studies()
    if name_or_path is None:
        if USUAL not in shipped:
            raise UsageError(
                f"the study {USUAL!r} is not installed",
                where=str(studies_folder()),
                hint="codctl sweep RECIPE seed=0,1",
            )
        return StudyRef(shipped[USUAL], f"{USUAL}/{_FILE}")
    path = Path(name_or_path)
    if path.is_dir() and (path / _FILE).is_file():
        return StudyRef(path / _FILE, str(path / _FILE))
    if path.is_file() and _is_study(path):
        return StudyRef(path, name_or_path)
    name = path.name if path.parent.name == "experiments" else name_or_path
    if name in shipped and not path.is_file():
        return StudyRef(shipped[name], f"{name}/{_FILE}")
    try:
        find_recipe(name_or_path)
    except UsageError as error:
        known = f" (studies: {', '.join(shipped)})" if shipped else ""
        raise UsageError(error.message + known, where=error.where, hint=error.hint) from None
    return None


def _is_study(path: Path) -> bool:
    """By its name, or by a key that no recipe has. A file that cannot be read is left to the reader of recipes."""
    if path.name == _FILE:
        return True
    import yaml

    from codctl.config.yaml_limits import excess_of

    try:
        text = path.read_text(encoding="utf-8")
        node = None if excess_of(text) else yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(node, yaml.MappingNode) and any(str(key.value) in _OWN_KEYS for key, _ in node.value)
