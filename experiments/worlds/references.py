"""What the reference policies get in each world: mean reward by position, with standard errors over packs.

    python experiments/worlds/references.py grid_navigation --preset train --packs 400

Prints Markdown. The last row of each table says how much of what is hidden the best uninformed policy could know before
each task. Variants other than the default are measured with `--variant`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from codctl.cod.references import cheapest_rendering, play_policy
from codctl.cod.trajectory import EpisodeRecord
from codctl.envs.base import Family
from codctl.envs.registry import check_world, get_family

PACKS_AT_ONCE = 50  # bounds the memory of trajectories, of which only numbers are kept
SEED = 0


def rewards(episode: EpisodeRecord) -> float:
    return episode.raw_reward


def knowable(episode: EpisodeRecord) -> float:
    score = episode.hint_score
    facts = score.right + score.missing
    return score.knowable / facts if facts else float("nan")


def measure(
    family: Family,
    preset: str,
    variant: str,
    policy: str,
    packs: int,
    length: int,
    of: Sequence[Callable[[EpisodeRecord], float]] = (rewards,),
) -> list[NDArray[np.float64]]:
    """Numbers of the solve episodes of the first test packs: for each measure an array, packs × positions."""
    rows = []
    for start in range(0, packs, PACKS_AT_ONCE):
        indices = range(start, min(start + PACKS_AT_ONCE, packs))
        drawn = [family.pack("test", index, length, preset, variant) for index in indices]
        played = play_policy(policy, drawn, cheapest_rendering([family]), SEED)
        rows += [[[one(episode) for episode in trajectory.of("solve")] for one in of] for trajectory in played]
    return list(np.array(rows, dtype=np.float64).transpose(1, 0, 2))


def cells(values_PS: NDArray[np.float64]) -> list[str]:
    """Mean and standard error at each position."""
    means, errors = values_PS.mean(axis=0), values_PS.std(axis=0, ddof=1) / len(values_PS) ** 0.5
    return [f"{mean:.3f} ({error:.3f})" for mean, error in zip(means, errors, strict=True)]


def table(family: Family, preset: str, variant: str, policies: Sequence[str], packs: int, length: int) -> str:
    lines = [["policy", *(f"position {position}" for position in range(1, length + 1))], ["---"] * (length + 1)]
    known = []
    for policy in policies:
        values_PS, known_PS = measure(family, preset, variant, policy, packs, length, (rewards, knowable))
        lines.append([f"`{policy}`", *cells(values_PS)])
        if policy == "bayes":
            known = [["knowable before", *(f"{share:.2f}" for share in known_PS.mean(axis=0))]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *known])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("--preset", action="append", help="default: all")
    parser.add_argument("--variant", help="default: the family's first")
    parser.add_argument("--policy", action="append", help="default: all")
    parser.add_argument("--packs", type=int, default=300)
    parser.add_argument("--length", type=int, default=8)
    options = parser.parse_args()
    family = get_family(options.family)
    variant = options.variant or family.variants[0]
    for preset in options.preset or family.presets:
        check_world(family.name, preset, variant)
        policies = options.policy or family.policies
        print(f"\n**{preset}**, variant `{variant}`, {options.packs} test packs\n", flush=True)
        print(table(family, preset, variant, policies, options.packs, options.length), flush=True)


if __name__ == "__main__":
    main()
