"""Presets, the kinds of tasks (nine single ones are easy, eight composites hard), and the seeded generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from codctl.envs.terminal.filesystem import WINDOWS, Parts
from codctl.envs.terminal.rules import SERVICE, VERBS, Surface, draw_rules
from codctl.envs.terminal.sites import NEW_NAMES, Side, Site, draw_site
from codctl.envs.terminal.tasks import DROP, Step, TerminalTask, TerminalWorld

PAPER_MODES = (0o700, 0o750, 0o755, 0o711, 0o744)


@dataclass(frozen=True)
class Draw:
    """Draws what steps are about."""

    rng: Random
    site: Site

    @property
    def shared(self) -> bool:
        return self.site.surface is not None

    @property
    def side(self) -> Side:
        """A machine for a single step; with house rules the remote one, for its port has to be known."""
        return "remote" if self.shared or self.rng.random() < 0.5 else "local"

    @property
    def new(self) -> str:
        """A name that nothing has yet."""
        return self.rng.choice(NEW_NAMES)

    @property
    def archive(self) -> str:
        bundle = self.site.local.bundle[-1]
        return self.new + "." + bundle.split(".", 1)[1]

    def file(self, side: Side) -> Parts:
        return self.rng.choice(self.site.side(side).files)

    def script(self, side: Side) -> Parts:
        return self.rng.choice(self.site.side(side).scripts)

    def folder(self, side: Side, other_than: Parts = ()) -> Parts:
        return self.rng.choice([path for path in self.site.side(side).folders if path != other_than[:-1]])

    def landing(self, side: Side, other_than: Parts = ()) -> Parts:
        """A folder for new things: with house rules the drop folder."""
        return (SERVICE, DROP) if self.shared else self.folder(side, other_than)

    def local_or(self, side: Side) -> Side:
        """With house rules the local machine: a task whose drop folder has to be found needs no port besides."""
        return "local" if self.shared else side

    def mode(self) -> int:
        return 0 if self.shared else self.rng.choice(PAPER_MODES)


def _upload(draw: Draw) -> list[Step]:
    source = draw.file("local")
    return [Step("send", "local", source, (*draw.folder("remote"), source[-1]))]


def _download(draw: Draw) -> list[Step]:
    source = draw.file("remote")
    return [Step("fetch", "remote", source, (*draw.folder("local"), source[-1]))]


def _rename(draw: Draw) -> list[Step]:
    side = draw.side
    source = draw.file(side)
    return [Step("move", side, source, (*source[:-1], _renamed(draw, source)))]


def _move(draw: Draw) -> list[Step]:
    side = draw.local_or(draw.side)
    source = draw.file(side)
    return [Step("move", side, source, (*draw.landing(side, source), source[-1]))]


def _chmod(draw: Draw) -> list[Step]:
    side: Side = (
        "local"
        if draw.site.local.identity.system != WINDOWS and not draw.shared and draw.rng.random() < 0.5
        else "remote"
    )
    return [Step("mode", side, draw.script(side), mode=draw.mode())]


def _delete(draw: Draw) -> list[Step]:
    side = draw.side
    return [Step("erase", side, draw.file(side))]


def _copy(draw: Draw) -> list[Step]:
    side = draw.local_or(draw.side)
    source = draw.file(side)
    return [Step("copy", side, source, (*draw.landing(side, source), source[-1]))]


def _pack(draw: Draw) -> list[Step]:
    side = draw.local_or(draw.side)
    home = draw.site.side(side).identity.home
    return [Step("pack", side, draw.folder(side), (*((SERVICE, DROP) if draw.shared else home), draw.archive))]


def _mkdir(draw: Draw) -> list[Step]:
    side = draw.local_or(draw.side)
    return [Step("make", side, (*draw.landing(side), draw.new))]


def _pack_upload(draw: Draw, into: Callable[[Draw], Parts] | None = None) -> list[Step]:
    archive = (*draw.site.local.identity.home, draw.archive)
    target = (*(into(draw) if into else draw.landing("remote")), archive[-1])
    return [Step("pack", "local", draw.folder("local"), archive), Step("send", "local", archive, target)]


def _download_extract(draw: Draw) -> list[Step]:
    bundle, target = draw.site.remote.bundle, draw.landing("local")
    archive = (*target, bundle[-1])
    return [Step("fetch", "remote", bundle, archive), Step("unpack", "local", archive, target)]


def _mkdir_upload(draw: Draw) -> list[Step]:
    source, target = draw.file("local"), (*draw.landing("remote"), draw.new)
    return [Step("make", "remote", target), Step("send", "local", source, (*target, source[-1]))]


def _upload_chmod(draw: Draw) -> list[Step]:
    source = draw.script("local")
    target = (*draw.landing("remote"), source[-1])
    return [Step("send", "local", source, target), Step("mode", "remote", target, mode=draw.mode())]


def _upload_delete(draw: Draw) -> list[Step]:
    source = draw.file("local")
    return [Step("send", "local", source, (*draw.landing("remote"), source[-1])), Step("erase", "local", source)]


def _pack_upload_extract(draw: Draw) -> list[Step]:
    packed, sent = _pack_upload(draw, lambda draw: draw.folder("remote"))
    return [packed, sent, Step("unpack", "remote", sent.target, sent.target[:-1])]


def _download_rename(draw: Draw) -> list[Step]:
    source = draw.file("remote")
    target = (*draw.landing("local"), source[-1])
    return [
        Step("fetch", "remote", source, target),
        Step("move", "local", target, (*target[:-1], _renamed(draw, source))),
    ]


def _backup_replace(draw: Draw) -> list[Step]:
    source, old = draw.file("local"), draw.file("remote")
    backup = (*(draw.landing("remote") if draw.shared else old[:-1]), old[-1] + ".bak")
    return [Step("copy", "remote", old, backup), Step("send", "local", source, old)]


def _renamed(draw: Draw, path: Parts) -> str:
    return f"{draw.new}.{path[-1].rsplit('.', 1)[1]}"


_SINGLE: dict[str, Callable[[Draw], list[Step]]] = {
    "upload": _upload,
    "download": _download,
    "rename": _rename,
    "move": _move,
    "chmod": _chmod,
    "delete": _delete,
    "copy": _copy,
    "pack": _pack,
    "mkdir": _mkdir,
}
_COMPOSITE: dict[str, Callable[[Draw], list[Step]]] = {
    "pack_upload": _pack_upload,
    "download_extract": _download_extract,
    "mkdir_upload": _mkdir_upload,
    "upload_chmod": _upload_chmod,
    "upload_delete": _upload_delete,
    "pack_upload_extract": _pack_upload_extract,
    "download_rename": _download_rename,
    "backup_replace": _backup_replace,
}
SINGLE, COMPOSITE = tuple(_SINGLE), tuple(_COMPOSITE)


def draw_steps(kind: str, draw: Draw) -> tuple[Step, ...]:
    """The steps of a task of this kind."""
    return tuple((_SINGLE | _COMPOSITE)[kind](draw))


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
