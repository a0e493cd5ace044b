"""Draws a reaction and initial states: codctl's own way, which serves packs of any length, and the published one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import numpy as np

from codctl.envs import trinity
from codctl.envs.pde_discovery.solver import CHECK, initial_state, is_stable
from codctl.envs.pde_discovery.templates import PRESETS, Preset, Template
from codctl.envs.pde_discovery.terms import Array, in_order
from codctl.envs.pde_discovery.world import PdeTask, PdeWorld

MAGNITUDES = 0.5, 2.0
MOST_MODES = 2
STRATA = 8  # of amplitudes, in codctl's own packs: the published length of an evaluation
_ATTEMPTS = 128
_REACTION, _AMPLITUDES, _SHAPE = 0, 1, 2  # the published streams


def draw_pack(rng: Random, length: int, preset_name: str) -> tuple[PdeWorld, tuple[PdeTask, ...]]:
    """A reaction and trajectories of which every eight have one amplitude in each eighth of the range."""
    preset = PRESETS[preset_name]
    reaction_rng, tasks_rng = Random(rng.getrandbits(64)), Random(rng.getrandbits(64))
    drawn = [task for number in range(1, max(length, 1) + 1, STRATA) for task in _draw_tasks(tasks_rng, preset, number)]
    # Not by the length: a shorter pack is a prefix of a longer one.
    world = _draw_stable(lambda: _draw_world(reaction_rng, preset_name), drawn[:STRATA])
    return world, tuple(drawn[:length])


def draw_other(rng: Random, world: PdeWorld) -> PdeWorld:
    """Another reaction with as many terms, of another template where there is one."""
    support = {term for term, _ in world.terms}
    same_size = [t for t in world.preset.templates if len(t) == len(support)]
    others = [t for t in same_size if {term for term, _ in t} != support] or same_size
    while (other := _draw_world(rng, world.preset_name, others)) == world:
        pass
    return other


def _draw_world(rng: Random, preset_name: str, templates: Sequence[Template] | None = None) -> PdeWorld:
    template = rng.choice(templates or PRESETS[preset_name].templates)
    return PdeWorld(preset_name, _with_magnitudes(template, rng.uniform))


def _with_magnitudes(template: Template, uniform: Callable[[float, float], float]) -> tuple[tuple[int, float], ...]:
    return tuple(in_order((term, sign * round(uniform(*MAGNITUDES), 2)) for term, sign in template).items())


def _draw_tasks(rng: Random, preset: Preset, number: int) -> list[PdeTask]:
    width = preset.amplitude / STRATA
    amplitudes = [rng.uniform(width * stratum, width * (stratum + 1)) for stratum in range(STRATA)]
    rng.shuffle(amplitudes)
    return [
        PdeTask(number + i, amplitude, _modes(rng.randint, rng.gauss), rng.getrandbits(32))
        for i, amplitude in enumerate(amplitudes)
    ]


def _modes(randint: Callable[[int, int], int], gauss: Callable[[float, float], float]) -> tuple[float, ...]:
    return tuple(gauss(0.0, 1.0) for _ in range(randint(1, MOST_MODES)))


def _draw_stable(draw: Callable[[], PdeWorld], tasks: Sequence[PdeTask]) -> PdeWorld:
    """The first reaction under which no trajectory of these tasks reaches the limit, or the last one tried."""
    states: Array = np.stack([initial_state(task.amplitude, task.modes, CHECK) for task in tasks], axis=1)
    for _ in range(_ATTEMPTS):
        world = draw()
        if is_stable(world.equation, states):
            break
    return world


def published_pack(split: str, index: int, length: int, preset_name: str) -> tuple[PdeWorld, tuple[PdeTask, ...]]:
    """A pack of the published rows.

    What a training pack hides follows from its identity; in an evaluation it follows from the first row's seed, and one
    template comes after another.
    """
    all_rows = trinity.pde_seeds(split)
    rows = [all_rows[row] for row in trinity.pack_rows(split, index, length)]
    if trinity.is_train(split):
        return published_draw(trinity.pack_seed(split, index, length), rows, preset_name, None)
    return published_draw(rows[0], rows, preset_name, index % len(PRESETS[preset_name].templates))


def published_draw(
    pack_seed: int, rows: Sequence[int], preset_name: str, template: int | None
) -> tuple[PdeWorld, tuple[PdeTask, ...]]:
    """A pack with this seed whose rows have these seeds; of a template of the preset, or of one that is drawn."""
    preset = PRESETS[preset_name]
    edges = np.linspace(0.0, preset.amplitude, len(rows) + 1)
    amplitudes_rng = _stream(pack_seed, _AMPLITUDES)
    amplitudes = [float(amplitudes_rng.uniform(low, high)) for low, high in pairwise(edges)]
    amplitudes_rng.shuffle(amplitudes)
    tasks = []
    for place, (row, amplitude) in enumerate(zip(rows, amplitudes, strict=True)):
        rng = _stream(pack_seed, _SHAPE, place)
        modes = rng.normal(size=int(rng.integers(1, MOST_MODES + 1)))
        tasks.append(PdeTask(place + 1, amplitude, tuple(modes.tolist()), row, as_published=True))
    rng = _stream(pack_seed, _REACTION)

    def draw() -> PdeWorld:
        chosen = int(rng.integers(0, len(preset.templates))) if template is None else template
        return PdeWorld(preset_name, _with_magnitudes(preset.templates[chosen], rng.uniform))

    return _draw_stable(draw, tasks), tuple(tasks)


def _stream(*words: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(words))
