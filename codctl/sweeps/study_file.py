"""A study file: training sets × ablations × seeds, and what every trained model is asked afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from codctl.config.evalspec import Seed
from codctl.config.explain import sections
from codctl.config.names import NAME, did_you_mean, refuse_reserved
from codctl.config.overrides import Override, override_text
from codctl.config.problems import SectionReader, usage_error
from codctl.config.recipes import find_recipe, recipes_folder
from codctl.config.schema import Config, Section, cosmetic, evaluation, training
from codctl.config.yaml_files import excess_of, read_source, values_of
from codctl.errors import UsageError

_Seeds = Annotated[tuple[Seed, ...], Field(strict=False)]
USUAL = "generalization"
_FILE = "study.yaml"


class StudyFile(Section):
    """The top of a study file; what is inside train, ablations, evaluate and sizes is looked at one by one."""

    name: str = Field(description="Name of the study.", pattern=NAME)
    description: str = cosmetic("", "What it asks, in one line.")
    size: str = cosmetic("tiny", "The size that is used when none is named.")
    seeds: _Seeds = training((0,), "Training seeds.", min_length=1)
    train: dict[str, Any] = training({}, "Training sets by name.")
    ablations: dict[str, Any] = training({"cod": {}}, "Overrides by name; each training set is trained with each.")
    evaluate: dict[str, Any] = evaluation({}, "Suites by name; every trained model plays each.")
    sizes: dict[str, Any] = training({}, "What is different at each size.")

    _name_is_not_reserved = field_validator("name")(refuse_reserved)


class TrainingSpec(Section):
    """One training set."""

    recipe: str | None = training(None, "Recipe to start from; null starts from the defaults of every key.")
    overrides: dict[str, Any] = training({}, "Keys of a recipe and their values.")


class EvaluationSpec(Section):
    """One suite that every trained model plays."""

    suite: str = Field(description="A shipped suite, or a YAML file beside the study.")
    overrides: dict[str, Any] = evaluation({}, "Keys of an evaluation and their values.")
    limit: int | None = evaluation(None, "Packs of each evaluation; null keeps those of the suite.", ge=2, le=1_000_000)


class SizeSpec(Section):
    """One size of a study: what it leaves out is as at the top."""

    description: str = cosmetic("", "What it is for, in one line.")
    overrides: dict[str, Any] = training({}, "Keys of a recipe and their values, for every training set.")
    seeds: Annotated[tuple[Seed, ...] | None, Field(strict=False)] = training(
        None, "Training seeds; null is those at the top.", min_length=1
    )
    train: dict[str, Any] | None = training(None, "Training sets by name; null is those at the top.")
    evaluate: dict[str, Any] | None = evaluation(None, "Suites by name; null is those at the top.")


@dataclass(frozen=True)
class Training:
    """One training set, checked.

    Attributes:
        recipe: As a command line names it; None for the defaults of every key.
        overrides: In the order in which they are set.
        place: Where it stands.
    """

    recipe: str | None
    overrides: tuple[Override, ...]
    place: str


@dataclass(frozen=True)
class Evaluation:
    """One suite, checked as far as the study file goes.

    Attributes:
        suite: Name of a shipped one, or path of a file.
        overrides: `key=value` each.
        place: Where it stands.
    """

    suite: str
    overrides: tuple[Override, ...]
    place: str


@dataclass(frozen=True)
class Study:
    """A study at one size.

    Attributes:
        name: Of the study.
        description: What it asks.
        size: Which one.
        is_default_size: Whether it is meant when none is named.
        seeds: Training seeds.
        trainings: By name.
        ablations: Overrides by name.
        evaluations: By name.
    """

    name: str
    description: str
    size: str
    is_default_size: bool
    seeds: tuple[int, ...]
    trainings: Mapping[str, Training]
    ablations: Mapping[str, tuple[Override, ...]]
    evaluations: Mapping[str, Evaluation]


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

    try:
        text = path.read_text(encoding="utf-8")
        node = None if excess_of(text) else yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(node, yaml.MappingNode) and any(str(key.value) in _OWN_KEYS for key, _ in node.value)


def load_study(path: Path, shown: str, size: str | None = None) -> Study:
    """Read a study file.

    Args:
        path: The YAML file.
        shown: How messages name it.
        size: One of its sizes; its own choice when None.

    Raises:
        UsageError: With all problems at once, each with its line.
    """
    source = read_source(path, shown, "study")
    if source.problem:
        raise usage_error(shown, [source.problem])
    reader = _Reader(shown, source.lines, folder=path.parent)
    study = reader.study(values_of(path), size)
    if study is None or reader.problems:
        raise usage_error(shown, list(dict.fromkeys(reader.problems)))
    return study


@dataclass
class _Reader(SectionReader):
    """Reads the parts of a study file.

    Attributes:
        folder: Recipes and suites beside the study are found there.
    """

    folder: Path = Path()

    def study(self, values: Mapping[str, Any], wanted: str | None) -> Study | None:
        top = self.section(StudyFile, values, "")
        if top is None:
            return None
        sizes = {name: self.size(name, item) for name, item in self.named(top.sizes, "sizes").items()}
        name = wanted or top.size
        if name not in sizes and (sizes or wanted):
            known = ", ".join(sizes) or "none"
            where = "size" if wanted is None else ""
            self.refuse(f"size: there is no size {name!r}{did_you_mean(name, sizes)} (known: {known})", where)
            return None
        chosen, inside = sizes.get(name), f"sizes.{name}."
        size = chosen or SizeSpec()
        common = self.overrides(size.overrides, f"{inside}overrides.")
        at_top = size.train is None
        trainings = self.trainings(top.train if at_top else size.train, "train" if at_top else f"{inside}train", common)
        if not trainings:
            self.refuse("train: a study has at least one training set", "train" if at_top else f"{inside}train")
        ablations = {
            key: self.overrides(item if isinstance(item, Mapping) else {}, f"ablations.{key}.")
            for key, item in self.named(top.ablations, "ablations").items()
        }
        at_top = size.evaluate is None
        return Study(
            name=top.name,
            description=top.description,
            size=name,
            is_default_size=name == top.size,
            seeds=tuple(dict.fromkeys(size.seeds or top.seeds)),
            trainings=trainings,
            ablations=ablations,
            evaluations=self.evaluations(
                top.evaluate if at_top else size.evaluate, "evaluate" if at_top else f"{inside}evaluate"
            ),
        )

    def size(self, name: str, item: Mapping[str, Any]) -> SizeSpec | None:
        """One size; its parts are looked at even when another one is wanted."""
        found = self.section(SizeSpec, item, f"sizes.{name}.")
        if found is not None:
            self.trainings(found.train, f"sizes.{name}.train", ())
            self.evaluations(found.evaluate, f"sizes.{name}.evaluate")
        return found

    def trainings(
        self, items: Mapping[str, Any] | None, prefix: str, common: tuple[Override, ...]
    ) -> dict[str, Training]:
        found = {}
        for name, item in self.named(items or {}, prefix).items():
            spec = self.section(TrainingSpec, item, f"{prefix}.{name}.")
            if spec is None:
                continue
            own = self.overrides(spec.overrides, f"{prefix}.{name}.overrides.")
            recipe = self.recipe(spec.recipe, f"{prefix}.{name}.recipe")
            found[name] = Training(recipe, (*common, *own), self.place(f"{prefix}.{name}"))
        return found

    def evaluations(self, items: Mapping[str, Any] | None, prefix: str) -> dict[str, Evaluation]:
        found = {}
        for name, item in self.named(items or {}, prefix).items():
            spec = self.section(EvaluationSpec, item, f"{prefix}.{name}.")
            if spec is None:
                continue
            given = dict(spec.overrides) if spec.limit is None else {**spec.overrides, "packs": spec.limit}
            own = self.overrides(given, f"{prefix}.{name}.overrides.", nested=False)
            found[name] = Evaluation(self.beside(spec.suite), own, self.place(f"{prefix}.{name}.suite"))
        return found

    def named(self, items: Mapping[str, Any], prefix: str) -> dict[str, Mapping[str, Any]]:
        """The sections of a mapping whose keys are names; one without content is empty."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, item in items.items():
            if not re.fullmatch(NAME, name):
                self.refuse(
                    f"{prefix}: {name!r} is not a valid name; expected letters, digits, '.', '_', '-'",
                    f"{prefix}.{name}",
                )
            elif item is not None and not isinstance(item, Mapping):
                self.refuse(f"{prefix}.{name}: expected a section of keys and values", f"{prefix}.{name}")
            else:
                found[name] = item or {}
        return found

    def overrides(self, items: Mapping[str, Any], prefix: str, *, nested: bool = True) -> tuple[Override, ...]:
        """Keys and values as they are set; a section of a recipe is taken apart."""
        found: list[Override] = []
        for key, value in items.items():
            if nested and isinstance(value, Mapping) and key in sections():
                inner = self.overrides({f"{key}.{name}": one for name, one in value.items()}, "")
                found += [Override(one.text, one.key, one.value, self.place(f"{prefix}{one.key}")) for one in inner]
            else:
                found.append(Override(override_text(str(key), value), str(key), value, self.place(f"{prefix}{key}")))
        return tuple(found)

    def recipe(self, name: str | None, key: str) -> str | None:
        if name is None:
            return None
        found = self.beside(name)
        try:
            find_recipe(found)
        except UsageError as error:
            self.refuse(error.message, key, error.hint)
        return found

    def beside(self, name: str) -> str:
        """A file beside the study by its path; any other name as it is."""
        path = self.folder / name
        return str(path) if path.suffix in (".yaml", ".yml") and path.is_file() else name
