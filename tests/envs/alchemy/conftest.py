"""Two small worlds, written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codctl.envs.alchemy.presets import PRESETS
from codctl.envs.alchemy.world import AlchemyTask, AlchemyWorld

SIZES, NAMES = (3, 2, 1), ("kir", "vol", "tham", "opal", "dus", "zemqu")
# opal = kir + vol, dus = tham + tham, zemqu = opal + dus; in symbols m=a+b, n=c+c, A=m+n
RECIPES = ((), (), (), ((0, 1),), ((2, 2),), ((3, 4),))


@pytest.fixture(scope="session")
def world() -> AlchemyWorld:
    return AlchemyWorld(PRESETS["easy"], SIZES, NAMES, RECIPES)


@pytest.fixture(scope="session")
def scarce_world() -> AlchemyWorld:
    """The same with two recipes for `opal`, and material that is used up."""
    recipes = (*RECIPES[:3], ((0, 1), (1, 2)), *RECIPES[4:])
    return AlchemyWorld(PRESETS["hard"], SIZES, NAMES, recipes)


@pytest.fixture(scope="session")
def task() -> AlchemyTask:
    return AlchemyTask(target=5, max_turns=8)


@pytest.fixture(scope="session")
def scarce_task(task: AlchemyTask) -> AlchemyTask:
    return replace(task, is_limited=True)
