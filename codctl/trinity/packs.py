"""Packs of a data set of Trinity-RFT: the worlds that its rows stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codctl.envs.base import Pack, Slot
from codctl.envs.registry import get_family
from codctl.envs.trinity import LakeRow, stable_pack_seed
from codctl.errors import UsageError
from codctl.trinity.data import DataSet, Row, largest

Drawn = tuple[Any, Sequence[Any]]


def is_drawn(family: str) -> bool:
    """Whether the rows of a family stand for worlds that are drawn here."""
    return family in _DRAW


def default_preset(data: DataSet) -> str:
    """The preset that a data set is likely to be played at: by its rows where they tell, else by its split."""
    if data.family == "frozen_lake":
        return "easy" if largest(data, "size") <= 5 else "hard"
    if data.family == "optimal_control":
        return control_preset(data)
    found = get_family(data.family).presets
    likely = ("train" if data.split == "train" else "hard") if "train" in found else "easy"
    return likely if likely in found else found[0]


def control_preset(data: DataSet) -> str:
    """The difficulty that rows of Optimal Control tell."""
    target = largest(data, "x_target")
    return "easy" if target <= 3 else "medium" if target <= 5 else "hard"


def draw_pack(data: DataSet, index: int, length: int, preset: str) -> Pack:
    """Pack number `index`: so many rows in the order of the file, with the stable seed of task set 0.

    Raises:
        UsageError: There are not so many rows, or rows of this family stand for no world.
    """
    numbers = range(index * length, (index + 1) * length)
    if numbers.stop > len(data.rows):
        raise UsageError(f"pack {index} of {length} tasks ends behind the last of {len(data.rows):,} rows")
    draw = _DRAW.get(data.family)
    if draw is None:
        raise UsageError(
            f"rows of {data.family or 'an unknown family'} stand for no world that is drawn here", where=str(data.path)
        )
    try:
        seed = stable_pack_seed([(0, number) for number in numbers])
        world, tasks = draw(seed, [data.rows[number] for number in numbers], preset)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"a row cannot be used: {type(error).__name__} {error}", where=str(data.path)) from error
    family = get_family(data.family).in_variant("trinity")
    slots = tuple(Slot(family, preset, world, task) for task in tasks)
    return Pack(data.family, preset, "trinity", data.split, index, slots)


def _lake(seed: int, rows: Sequence[Row], preset: str) -> Drawn:
    from codctl.envs.frozen_lake.trinity import task_of, world_of

    tasks = [task_of(LakeRow(int(row["seed"]), int(row["size"]), float(row["p"])), preset) for row in rows]
    return world_of(seed), tasks


def _alchemy(seed: int, rows: Sequence[Row], preset: str) -> Drawn:
    from codctl.envs.alchemy.trinity import draw, supplied

    world, tasks = draw(seed, len(rows), preset)
    return world, [supplied(task, int(row["seed"]), preset) for task, row in zip(tasks, rows, strict=True)]


def _grid(seed: int, rows: Sequence[Row], preset: str) -> Drawn:
    from codctl.envs.grid_navigation.generator import NumpyDraws, draw_task, draw_world

    world = draw_world(NumpyDraws(seed), preset)
    return world, [draw_task(NumpyDraws(int(row["seed"])), world) for row in rows]


def _control(seed: int, rows: Sequence[Row], preset: str) -> Drawn:
    from codctl.envs.optimal_control.generator import PRESETS, task_of
    from codctl.envs.optimal_control.trinity import world_of

    bounds = PRESETS[preset]
    values = [(float(row["x0"]), float(row["v0"]), float(row["x_target"])) for row in rows]
    return world_of(seed, bounds), [task_of(value, bounds) for value in values]


def _pde(seed: int, rows: Sequence[Row], preset: str) -> Drawn:
    from codctl.envs.pde_discovery.generator import published_draw

    own, template = rows[0].get("pde_environment_seed"), rows[0].get("ground_truth_template_index")
    seeds = [int(row["seed"]) for row in rows]
    return published_draw(seed if own is None else int(own), seeds, preset, None if template is None else int(template))


_DRAW: Mapping[str, Callable[[int, Sequence[Row], str], Drawn]] = {
    "frozen_lake": _lake,
    "alchemy": _alchemy,
    "grid_navigation": _grid,
    "optimal_control": _control,
    "pde_discovery": _pde,
}
