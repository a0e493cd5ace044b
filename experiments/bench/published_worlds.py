"""The worlds of the variant `paper` beside figures of the published generators, with standard errors.

    python experiments/bench/published_worlds.py [--packs 3000]

The published figures were measured by executing the generators of Trinity-RFT: 3,000 packs of Alchemy-Random and 6,000
maps of FrozenLake-Obscure. Their random agent was measured with a standard error of 0.02. Prints and asserts nothing;
tests/envs/alchemy/test_published.py and tests/envs/frozen_lake/test_published.py assert most of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import sqrt
from statistics import mean, median, stdev

from codctl.cli._output import table
from codctl.cod.references import play_policy
from codctl.envs.alchemy.bayes import obtain, recipes_by_product
from codctl.envs.base import Family, Pack
from codctl.envs.registry import get_family

REFERENCE_PACKS, REFERENCE_MAPS = 3000, 6000
Row = tuple[str, str, str, str]


def row(name: str, values: Sequence[float], published: float | None = None, count: int = REFERENCE_PACKS) -> Row:
    """One measure: what was published, what codctl draws, and how many standard errors lie between them."""
    here, spread = mean(values), stdev(values)
    own = f"{here:.3f} ± {spread / sqrt(len(values)):.3f}"
    if published is None:
        return (name, "-", own, "-")
    error = sqrt(spread**2 * (1 / len(values) + 1 / count)) or 1.0
    return (name, f"{published:g}", own, f"{(here - published) / error:+.1f}")


def alchemy(packs: int) -> list[Row]:
    family = get_family("alchemy")
    easy = [family.pack("test", index, 4, "easy", "paper") for index in range(packs)]
    hard = [family.pack("test", index, 8, "hard", "paper") for index in range(packs)]
    short = [family.pack("test", index, 4, "hard", "paper") for index in range(packs)]
    rows = [row("easy: four tiers", [len(pack.world.sizes) == 4 for pack in easy], 0.5)]
    for count, published in ((2, 0.13), (3, 0.50), (4, 0.37)):
        rows.append(row(f"easy: {count} elements to make", [len(p.world.craftable) == count for p in easy], published))
    rows.append(row("easy, 4 tasks: distinct targets", [_distinct(pack) for pack in easy], 3.24))
    for position, published in ((1, 0.0), (2, 0.13), (3, 0.64)):
        rows.append(row(f"easy: task {position + 1} seen before", [_repeats(p, position) for p in easy], published))
    rows.append(row("hard, 8 tasks: distinct targets", [_distinct(pack) for pack in hard], 5.40))
    for position, published in ((1, 0.0), (2, 0.0), (3, 0.14), (4, 0.31)):
        rows.append(row(f"hard: task {position + 1} seen before", [_repeats(p, position) for p in hard], published))
    for tier, published in ((1, 0.48), (2, 0.39), (3, 0.14)):
        shares = [mean(pack.world.tier_of[task.target] == tier for task in pack.tasks) for pack in short]
        rows.append(row(f"hard, 4 tasks: targets of tier {tier}", shares, published))
    pieces = [[sum(task.stock(pack.world).values()) for task in pack.tasks] for pack in hard]
    rows.append(row("hard: pieces at the start", [mean(counts) for counts in pieces], 13.4))
    rows.append(("hard: pieces at the start, median", "12", f"{median(n for counts in pieces for n in counts):g}", "-"))
    rows.append(row("hard: elements", [sum(pack.world.sizes) for pack in hard], 11.2))
    rows.append(row("hard: recipes", [len(pack.world.products) for pack in hard], 8.8))
    rows.append(row("hard: solvable with full knowledge", [mean(_solvable(pack)) for pack in hard], 0.972))
    return rows


def frozen_lake(maps: int) -> list[Row]:
    family = get_family("frozen_lake")
    rows = []
    for preset, length, longest, share, holes in (("easy", 2.89, 7, 0.023, 0.297), ("hard", 4.01, 9, 0.029, 0.320)):
        tasks = [family.pack("test", index, 1, preset, "paper").tasks[0] for index in range(maps)]
        lengths = [task.shortest_path for task in tasks]
        filled = [len(task.holes) / task.size**2 for task in tasks]
        rows.append(row(f"{preset}: shortest path", lengths, length, REFERENCE_MAPS))
        rows.append(row(f"{preset}: length {longest}", [n == longest for n in lengths], share, REFERENCE_MAPS))
        rows.append(row(f"{preset}: holes", filled, holes, REFERENCE_MAPS))
    return rows


def played(packs: int) -> list[Row]:
    """What scripted agents of codctl reach; the published comparison had a learner of its own and a random agent."""
    family = get_family("alchemy")
    rows = []
    for preset, length, policy in (
        ("easy", 4, "bayes"),
        ("easy", 4, "random"),
        ("hard", 8, "bayes"),
        ("hard", 8, "random"),
        ("hard", 8, "informed"),
    ):
        curves = _curves(family, policy, preset, length, packs)
        cells = " ".join(f"{mean(at):.3f}" for at in zip(*curves, strict=True))
        error = sqrt(0.25 / packs)
        rows.append((f"{preset}, {policy}: success by position", "-", f"{cells} (± {error:.3f} at most)", "-"))
        if (preset, policy) == ("hard", "random"):
            overall = [mean(rewards) for rewards in curves]
            here, own = mean(overall), stdev(overall) / sqrt(packs)
            apart = f"{(here - 0.25) / sqrt(own**2 + 0.02**2):+.1f}"
            rows.append(("hard, random: success", "0.25 ± 0.02", f"{here:.3f} ± {own:.3f}", apart))
    return rows


def _curves(family: Family, policy: str, preset: str, length: int, packs: int) -> list[list[float]]:
    drawn = [family.pack("test", index, length, preset, "paper") for index in range(packs)]
    return [[e.raw_reward for e in t.of("solve")] for t in play_policy(policy, drawn, "compact", 0)]


def _distinct(pack: Pack) -> int:
    return len({task.target for task in pack.tasks})


def _repeats(pack: Pack, position: int) -> bool:
    targets = [task.target for task in pack.tasks]
    return targets[position] in targets[:position]


def _solvable(pack: Pack) -> list[bool]:
    recipes = recipes_by_product(pack.world.products)
    return [obtain([task.target], task.stock(pack.world), recipes) is not None for task in pack.tasks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, default=3000, help="packs or maps of each kind; a tenth of them is played")
    packs = parser.parse_args().packs
    head = ["measure", "published", "codctl", "standard errors apart"]
    for title, rows in (
        ("Alchemy-Random", alchemy(packs)),
        ("Alchemy-Random, played", played(max(20, packs // 10))),
        ("FrozenLake-Obscure", frozen_lake(packs)),
    ):
        print(f"{title}\n{table(head, rows)}\n")


if __name__ == "__main__":
    main()
