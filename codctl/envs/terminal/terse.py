"""TerminalSimulator in the terse rendering: plain English, one line a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.house import USAGES
from codctl.envs.terminal.rules import SERVICE, TOOLS, VERBS
from codctl.envs.terminal.tasks import DROP

if TYPE_CHECKING:
    from codctl.envs.terminal.episode import TerminalEpisode
    from codctl.envs.terminal.shell import Ran
    from codctl.envs.terminal.sites import Grounds, Site

_SHOWN_CHARS = 300

RULES = """\
You work in the shell of a local machine and reach a remote one with ssh. Answer with one command line a turn, \
without pipes, redirects, variables or wildcards. Send files between the machines from the local one. The task ends \
as soon as everything it asks for is done. If the site has house rules, they stay the same in later tasks."""


PUBLISHED_RULES = """\
You work in the shell of a local machine and reach a remote one with ssh. Answer with one command line a turn, \
without pipes, redirects or wildcards. Send files between the machines from the local one. The task ends as soon as \
everything it asks for is done."""


def first_observation(episode: TerminalEpisode, task: str) -> str:
    site = episode.site
    lines = [f"Local: {_machine(site.local)}. Remote: {_machine(site.remote)}."]
    if site.surface:
        lines.append(_house_rules(site))
    return "\n".join([*lines, task, _prompt(episode)])


def next_observation(episode: TerminalEpisode, ran: Sequence[Ran]) -> str:
    return "\n".join([*(_line(one) for one in ran), _prompt(episode)])


def transcript(episode: TerminalEpisode, task: str) -> str:
    return "\n".join([task.removeprefix("Task:").strip(), *(_line(one) for one in episode.log)])


def hint_from(known: Iterable[tuple[str, str]]) -> str:
    return " ".join(_sentence(slot, value) for slot, value in known) or "Nothing noted yet."


def _sentence(slot: str, value: str) -> str:
    if slot in VERBS:
        return f"The tool to {slot} is {value}."
    return {"port": f"The port is {value}.", "drop": f"The drop folder is {value}."}.get(slot, f"The mode is {value}.")


def _house_rules(site: Site) -> str:
    where = site.remote.identity.write
    usages = ", ".join(f"TOOL {usage}" for usage in USAGES.values())
    return (
        f"House rules: tools in {where(TOOLS)} replace the usual commands to send, pack, unpack, delete, move, copy "
        f"and make folders. Each is for one of these: {usages}. ssh and send need -p PORT, not 22. Only one folder in "
        f"{where((SERVICE,))} can be written to; tasks call it {DROP}. chmod takes only one mode."
    )


def _machine(grounds: Grounds) -> str:
    identity = grounds.identity
    return f"{identity.user} on {identity.host} ({identity.system}), home {identity.write(identity.home)}"


def _line(one: Ran) -> str:
    return f"$ {one.command} → {' '.join(one.output.split())[:_SHOWN_CHARS] or 'done'}"


def _prompt(episode: TerminalEpisode) -> str:
    here, left = episode.shell.here, episode.max_turns - episode.turns
    return f"You are on {here.identity.host} in {here.show(here.cwd)}. {left} step{'' if left == 1 else 's'} left."
