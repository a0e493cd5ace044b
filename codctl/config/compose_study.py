"""Read a study file: the matrix that it spans at one size, or the list of all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.explain import sections
from codctl.config.findings import usage_error
from codctl.config.names import NAME
from codctl.config.nearest import did_you_mean
from codctl.config.overrides import Override, override_text
from codctl.config.recipes import find_recipe
from codctl.config.sections import SectionReader
from codctl.config.source import read_source
from codctl.config.sweepspec import Evaluation, EvaluationSpec, SizeSpec, Study, StudyFile, Training, TrainingSpec
from codctl.errors import UsageError


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
    study = reader.study(_values(path), size)
    if study is None or reader.problems:
        raise usage_error(shown, list(dict.fromkeys(reader.problems)))
    return study


def _values(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(key): value for key, value in values.items()}


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
