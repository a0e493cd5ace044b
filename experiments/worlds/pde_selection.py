"""How well rules for choosing a PDE Discovery equation do on the same data, with all data so far or a task's own alone.

    python experiments/worlds/pde_selection.py --preset train --packs 320 --length 4
    python experiments/worlds/pde_selection.py --preset hard --packs 325 --length 8 --variant trinity

No episode is played, and no rule of the world is followed: an equation counts as it was fitted, with points weighed by
their noise, whether or not it could be committed. `tool` is the regression's own answer with all terms.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from codctl.envs.pde_discovery.belief import all_supports, compare
from codctl.envs.pde_discovery.episode import normalised_l1
from codctl.envs.pde_discovery.family import PdeDiscovery
from codctl.envs.pde_discovery.policies import DESIGN
from codctl.envs.pde_discovery.regression import Support, regress
from codctl.envs.pde_discovery.templates import PRESETS, Preset
from codctl.envs.pde_discovery.terms import TERMS, Array, Equation
from codctl.envs.pde_discovery.world import PdeWorld

Data = tuple[Array, Array]  # states, targets
Rule = Callable[[Data, PdeWorld], Equation]


def tool(data: Data, world: PdeWorld) -> Equation:
    return regress(*data, range(len(TERMS)), world.preset.most_terms, 0.05).best.equation


def of_supports(supports: Callable[[PdeWorld], Sequence[Support]]) -> Rule:
    return lambda data, world: compare(*data, supports(world)).equation


def family_supports(preset: Preset) -> list[Support]:
    return sorted({tuple(term for term, _ in template) for template in preset.templates})


RULES: dict[str, Rule] = {
    "tool": tool,
    "bic": of_supports(lambda world: all_supports(world.preset.most_terms)),
    "family": of_supports(lambda world: family_supports(world.preset)),
    "support known": of_supports(lambda world: [tuple(world.equation)]),
}


def measure(preset: str, variant: str, packs: int, length: int) -> dict[str, NDArray[np.float64]]:
    """For each rule and kind of data: reward and whether the terms are right, packs × positions × 2."""
    family, found = PdeDiscovery(), {}
    x, t = np.array(DESIGN).T
    for index in range(packs):
        pack = family.pack("test", index, length, preset, variant)
        data = [task.measure(pack.world, x, t, place) for place, task in enumerate(pack.tasks, 1)]
        for position in range(length):
            pooled = np.concatenate(data[: position + 1], axis=1)
            for kind, used in (("pooled", (pooled[0], pooled[1])), ("single", data[position])):
                for rule, choose in RULES.items():
                    table = found.setdefault(f"{rule}, {kind}", np.zeros((packs, length, 2)))
                    table[index, position] = score(choose(used, pack.world), pack.world)
    return found


def score(equation: Equation, world: PdeWorld) -> tuple[float, float]:
    true = world.equation
    loss = normalised_l1(equation, true) + max(0, len(equation) - len(true))
    return 1 / (1 + loss), float(set(equation) == set(true))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="train")
    parser.add_argument("--variant", choices=PdeDiscovery.variants, default="hints_only")
    parser.add_argument("--packs", type=int, default=320)
    parser.add_argument("--length", type=int, default=4)
    options = parser.parse_args()
    print(f"\n**{options.preset}**, packs of `{options.variant}`, {options.packs} test packs\n")
    heads = ["rule", *(f"position {place}" for place in range(1, options.length + 1)), "terms right, first → last"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for name, values in measure(options.preset, options.variant, options.packs, options.length).items():
        means, errors = values[..., 0].mean(axis=0), values[..., 0].std(axis=0, ddof=1) / len(values) ** 0.5
        right = values[..., 1].mean(axis=0)
        cells = [f"{mean:.3f} ({error:.3f})" for mean, error in zip(means, errors, strict=True)]
        print(f"| {name} | {' | '.join(cells)} | {right[0]:.2f} → {right[-1]:.2f} |")


if __name__ == "__main__":
    main()
