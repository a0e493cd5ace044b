"""Every shipped recipe runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import digest
from codctl.config.recipes import copy_recipe, find_recipe, recipes_folder, shipped_recipes
from codctl.envs.registry import FAMILIES
from codctl.errors import PreflightError, RefusedError, UsageError
from codctl.train.preflight import preflight

ROOT = Path(__file__).parents[2]
COUNT = 23


def test_all_shipped_recipes_are_found() -> None:
    assert recipes_folder() == ROOT / "recipes"
    assert [recipe.path for recipe in shipped_recipes()] == sorted((ROOT / "recipes").rglob("*.yaml"))
    assert len(shipped_recipes()) == COUNT


@pytest.mark.parametrize("recipe", shipped_recipes(), ids=lambda recipe: recipe.name)
def test_every_shipped_recipe_is_valid_and_described(recipe) -> None:
    config = load_config(recipe.name)
    assert config == load_config(str(recipe.path))
    assert config.description
    assert len(digest(config)) == 16
    if config.model.path is None:
        preflight(config)


def test_every_family_is_in_the_mixture_of_a_recipe() -> None:
    mixed = [load_config(recipe.name).world.mixture for recipe in shipped_recipes()]
    assert {part.family for mixture in mixed for part in mixture} == set(FAMILIES.built_in)


def test_a_copy_is_exact_and_never_overwrites(tmp_path: Path) -> None:
    written = copy_recipe("tiny", tmp_path)
    assert written == tmp_path / "tiny.yaml"
    assert written.read_text() == find_recipe("tiny").path.read_text()
    with pytest.raises(RefusedError, match="exists"):
        copy_recipe("tiny", tmp_path)
    with pytest.raises(PreflightError, match="cannot write: No such file or directory"):
        copy_recipe("tiny", tmp_path / "no" / "where.yaml")
    with pytest.raises(UsageError, match=r"ends in \.yaml"):
        copy_recipe("tiny", tmp_path / "tiny.txt")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'there is no recipe "tinny", .* did you mean "tiny"'):
        find_recipe("tinny")
