"""The next command line towards a goal, given what is believed of the house rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from codctl.envs.terminal.filesystem import WINDOWS
from codctl.envs.terminal.rules import SERVICE, TOOLS, HouseRules
from codctl.envs.terminal.sites import Site
from codctl.envs.terminal.tasks import DROP, Step, fill_in, goal

if TYPE_CHECKING:
    from codctl.envs.terminal.episode import TerminalEpisode


class Knowledge(Protocol):
    """What is believed of the house rules."""

    def guess(self, slot: str) -> str | None:
        """A value for a slot to act on, None when not even the choices are known."""

    def is_known(self, slot: str) -> bool:
        """Whether the guess is certain."""


@dataclass(frozen=True)
class Truth:
    """Knowledge of all there is to know."""

    rules: HouseRules | None

    def guess(self, slot: str) -> str | None:
        return self.rules.truth[slot] if self.rules else None

    def is_known(self, slot: str) -> bool:
        return True


def next_line(episode: TerminalEpisode, knowledge: Knowledge) -> str:
    """What to type next. Asks for a listing where there is no guess."""
    step = next_step(episode)
    site, here = episode.site, episode.shell.here.identity
    if site.surface:
        step = _way_around(step, episode, knowledge)
        if step.tool_verb and knowledge.guess(step.tool_verb) is None:
            return f"ls {here.write(TOOLS)}"
        if DROP in (*step.source, *step.target) and knowledge.guess("drop") is None:
            return f"ls {here.write((SERVICE,))}"
    side = "local" if step.verb in ("send", "fetch") else step.side
    if episode.shell.side != side:
        return "exit" if side == "local" else f"ssh {_port(site, knowledge)}{site.remote.identity.host}"
    return _house_command(step, site, knowledge) if site.surface else _command(step, site)


def _way_around(step: Step, episode: TerminalEpisode, knowledge: Knowledge) -> Step:
    """Copy and erase instead of move, where these tools are known and that one is not."""
    if step.verb != "move":
        return step
    copy = replace(step, verb="copy")
    copied = goal([copy], episode.site, episode.shell.rules)  # wants nothing of a file that came to the site later
    if all(check.want.kind != "gone" and not check.problem(episode.shell) for check in copied):
        return Step("erase", step.side, step.source)
    if knowledge.is_known("move"):
        return step
    if not (knowledge.is_known("copy") and knowledge.is_known("erase")) or episode.max_turns - episode.turns < 2:
        return step
    return copy


def next_step(episode: TerminalEpisode) -> Step:
    """The first step whose effect, and that of those before it, is not there yet."""
    steps = episode.task.steps
    for done in range(len(steps) - 1, 0, -1):
        checks = goal(steps[:done], episode.site, episode.shell.rules)
        if not any(check.problem(episode.shell) for check in checks):
            return steps[done]
    return steps[0]


def _port(site: Site, knowledge: Knowledge) -> str:
    port = knowledge.guess("port") if site.surface else None
    return f"-p {port} " if port else ""


def _house_command(step: Step, site: Site, knowledge: Knowledge) -> str:
    tool, drop = knowledge.guess(step.tool_verb) if step.tool_verb else "", knowledge.guess("drop") or ""
    source, target = _ends(step, site, drop)
    if step.verb == "mode":
        return f"chmod {knowledge.guess('mode') or '755'} {source}"
    if step.verb in ("send", "fetch"):
        return f"{tool} send {_port(site, knowledge)}{source} {target}"
    if step.verb in ("erase", "make"):
        return f"{tool} {step.verb} {source}"
    if step.verb == "pack":
        return f"{tool} pack {target} {source}"
    return f"{tool} {step.verb} {source} {target}"


def _command(step: Step, site: Site) -> str:
    source, target = _ends(step, site, "")
    windows = site.side(step.side).identity.system == WINDOWS
    if step.verb == "mode":
        return f"chmod {step.mode:o} {source}"
    if step.verb == "pack":
        return f"zip -r {target} {source}" if target.endswith(".zip") else f"tar -czf {target} {source}"
    if step.verb == "unpack":
        return f"unzip {source} -d {target}" if source.endswith(".zip") else f"tar -xzf {source} -C {target}"
    unix = {"send": "scp", "fetch": "scp", "erase": "rm", "move": "mv", "copy": "cp", "make": "mkdir"}
    name = {"erase": "del", "move": "move", "copy": "copy"}.get(step.verb) if windows else None
    return f"{name or unix[step.verb]} {source} {target}".rstrip()


def _ends(step: Step, site: Site, drop: str) -> tuple[str, str]:
    """Source and target as one types them; a transfer that keeps the name goes to the folder."""
    remote, host = site.remote.identity, site.remote.identity.host
    target_path = (
        step.target[:-1] if step.verb in ("send", "fetch") and step.target[-1] == step.source[-1] else step.target
    )
    source = site.side(step.side).identity.write(fill_in(step.source, drop))
    target = site.side(step.target_side).identity.write(fill_in(target_path, drop)) if step.target else ""
    if step.verb == "send":
        target = f"{host}:{remote.write(fill_in(target_path, drop))}"
    elif step.verb == "fetch":
        source = f"{host}:{source}"
    return source, target
