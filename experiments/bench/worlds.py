"""How fast and how small the worlds are, on one core: turns, packs, memory, for every registered family.

    make bench

Seconds are CPU seconds, so that a busy machine changes little; a slow one changes all. Prints and asserts nothing.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Iterator

from codctl.cli._output import table
from codctl.envs.base import Family, Pack
from codctl.envs.registry import families
from codctl.envtools.validate.fingerprint import actions_of

TURNS_PER_S = {
    "terminal": 5_000,  # commands, each of which runs a simulated shell
    "optimal_control": 5_000,  # expressions, each of which is read and then evaluated in every step
    "pde_discovery": 50,  # regressions and trajectories: a pack of four in a third of a second
}
TURNS_PER_S_ELSEWHERE = 20_000
PACKS_PER_S = {"pde_discovery": 30}  # where a pack is tried for stability
PACKS_PER_S_ELSEWHERE = 1_000
KB_PER_EPISODE = 200
LENGTH = 4
LIVE = 500
BETWEEN_LOOKS = 50  # packs: a look at the clock is dear on some machines


def turns_per_s(family: Family, preset: str, variant: str, seconds: float) -> float:
    """Turns of whole episodes, begun and played to their end, with actions that were chosen before."""
    script = list(_script(family, preset, variant, packs=40))
    turns, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        for pack, actions in script:
            for slot, taken in zip(pack.slots, actions, strict=True):
                episode = slot.begin("compact")
                for action in taken:
                    episode.act(action)
                turns += len(taken)
    return turns / (time.process_time() - started)


def packs_per_s(family: Family, preset: str, variant: str, seconds: float) -> float:
    packs, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        for index in range(packs, packs + BETWEEN_LOOKS):
            family.pack("train", index, LENGTH, preset, variant)
        packs += BETWEEN_LOOKS
    return packs / (time.process_time() - started)


def kb_per_episode(family: Family, preset: str, variant: str) -> float:
    """Of live episodes before their last turn, each with a pack of its own."""
    script = list(_script(family, preset, variant, packs=8))  # what is loaded or computed once is not an episode's
    live = []
    tracemalloc.start()
    try:
        for index in range(LIVE):
            pack = family.pack("train", index % len(script), LENGTH, preset, variant)
            episode = pack.slots[0].begin("compact")
            for action in script[index % len(script)][1][0][:-1]:
                episode.act(action)
            live.append((pack, episode))
        return tracemalloc.get_traced_memory()[0] / 1000 / len(live)
    finally:
        tracemalloc.stop()


def _script(family: Family, preset: str, variant: str, packs: int) -> Iterator[tuple[Pack, list[list[str]]]]:
    """Packs with what an informed and a random agent do in them, by turns."""
    for index in range(packs):
        pack = family.pack("train", index, LENGTH, preset, variant)
        yield pack, actions_of(pack, ("informed", "random")[index // 2 % 2], "compact")


def _verdict(figure: float, target: float, *, at_most: bool = False) -> str:
    return "met" if (figure <= target if at_most else figure >= target) else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each timing")
    parser.add_argument("families", nargs="*", help="default: all")
    options = parser.parse_args()
    rows: list[list[object]] = []
    for name, family in families().items():
        if options.families and name not in options.families:
            continue
        target = TURNS_PER_S.get(name, TURNS_PER_S_ELSEWHERE)
        target_packs = PACKS_PER_S.get(name, PACKS_PER_S_ELSEWHERE)
        for variant in family.open_variants:
            for preset in family.presets:
                world = f"{name} {variant} {preset}"
                turns = turns_per_s(family, preset, variant, options.seconds)
                packs = packs_per_s(family, preset, variant, options.seconds)
                memory = kb_per_episode(family, preset, variant)
                rows.append([world, "turns/s, compact", round(turns), f"≥ {target:,}", _verdict(turns, target)])
                rows.append(
                    [
                        world,
                        f"packs/s, length {LENGTH}",
                        round(packs),
                        f"≥ {target_packs:,}",
                        _verdict(packs, target_packs),
                    ]
                )
                verdict = _verdict(memory, KB_PER_EPISODE, at_most=True)
                rows.append([world, "kB per live episode", round(memory, 1), f"≤ {KB_PER_EPISODE}", verdict])
    print(table(["world", "measure", "figure", "target", ""], rows))


if __name__ == "__main__":
    main()
