"""Presets and the seeded generator of worlds and tasks: single kinds are easy, composite ones hard."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from codctl.envs.terminal.kinds import COMPOSITE, SINGLE, Draw, draw_steps
from codctl.envs.terminal.rules import VERBS, Surface, draw_rules
from codctl.envs.terminal.sites import draw_site
from codctl.envs.terminal.tasks import TerminalTask, TerminalWorld

TOOL_NAMES = (
    *("bao", "cif", "dulo", "ekko", "fenn", "gavi", "hulk", "ixo", "jad", "kip", "lumo", "mirk", "nod", "oxa", "pell"),
    *("quib", "rux", "sabo", "tark", "umi", "vex", "wisp", "yaro", "zeb", "brin", "clod", "drex", "fusk", "glim"),
)
DROP_NAMES = (
    *("acorn", "badger", "clover", "dahlia", "egret", "fennel", "gannet", "heron", "iris", "juniper", "kestrel"),
    *("lupin", "marten", "nettle", "osprey", "plover", "quail", "rowan", "sorrel", "thistle", "vole", "walnut"),
)
MODES = ("700", "710", "711", "740", "744", "750", "751", "754", "755", "760", "764", "770", "771", "774", "775")

COMPOSITE_RATIO = 0.5


@dataclass(frozen=True)
class Preset:
    """Kinds of tasks, and among how many values each house rule has its own: more make cold success rarer."""

    kinds: tuple[str, ...]
    tools: int
    ports: int
    drops: int
    modes: int


PRESETS = {
    "easy": Preset(SINGLE, tools=10, ports=10, drops=10, modes=10),
    "hard": Preset(COMPOSITE, tools=8, ports=4, drops=4, modes=4),
}


def draw_world(rng: Random, preset: Preset) -> TerminalWorld:
    """A world of the variant shared_world."""
    surface = Surface(
        tuple(sorted(rng.sample(TOOL_NAMES, preset.tools))),
        tuple(str(port) for port in sorted(rng.sample(range(2100, 9900), preset.ports))),
        tuple(sorted(rng.sample(DROP_NAMES, preset.drops))),
        tuple(sorted(rng.sample(MODES, preset.modes))),
    )
    assert preset.tools >= len(VERBS)
    return TerminalWorld(draw_site(rng, surface), draw_rules(rng, surface))


def draw_task(rng: Random, preset: Preset, world: TerminalWorld) -> TerminalTask:
    """A task in the world's site, or in one of its own."""
    site = world.site or draw_site(rng, None)
    if world.site is None:  # as published, whatever the preset: `composite_ratio: 0.5` in eval_terminal.yaml
        kind = rng.choice(COMPOSITE if rng.random() < COMPOSITE_RATIO else SINGLE)
    else:
        kind = rng.choice(preset.kinds)
    steps = draw_steps(kind, Draw(rng, site))
    return TerminalTask(kind, steps, None if world.site else site)
