"""Every text of TerminalSimulator but the hints; those of the terse rendering are in `terse`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.terminal import terse
from codctl.envs.terminal.commands.house import USAGES
from codctl.envs.terminal.filesystem import Parts
from codctl.envs.terminal.rules import LISTS, SERVICE, TOOLS, Lesson
from codctl.envs.terminal.sites import Grounds, Side, Site
from codctl.envs.terminal.tasks import DROP, MAX_STEPS, Step

if TYPE_CHECKING:
    from codctl.envs.terminal.episode import TerminalEpisode
    from codctl.envs.terminal.shell import Ran

_RULES = f"""\
You work at the shell of a local machine, from which you can reach a remote machine. Get the task done.

Each turn you give one command line. You can join commands with && or ;. Each {{counted}} counts as one step, and you \
have {MAX_STEPS} steps. A command that fails changes nothing.

Commands: ls cd pwd cat mkdir chmod cp mv rm touch echo whoami ssh exit scp rsync tar zip unzip gzip gunzip. On \
Windows, chmod touch rsync tar gzip gunzip are missing, and dir type copy move del ren are available as well. \
{{missing}} and wildcards are not available. `ssh HOST` takes you to the remote machine and `exit` takes you \
back. Send files between the machines from the local one.

The task ends with reward 1 as soon as everything it asks for is done{{fewer}}. Running \
out of steps, or a reply that cannot be read, ends it with reward 0.

{{explore}}"""
FORM = ReplyForm(
    ask="give a command line.",
    action="ls",
    thought="First I look at what is in this folder.",
    terse="<answer>COMMAND LINE</answer>",
)

_HOUSE = {
    "counted": "command",
    "missing": "Pipes, redirects, variables",
    "fewer": "; the fewer steps you use, the better",
    "explore": "Use your steps both to get the task done and to find out what is hidden: what you find out helps you "
    "in the later tasks of this series.",
}
# The published prompt does not speak of later tasks here, and nothing is hidden.
_PUBLISHED = {
    "counted": "line",
    "missing": "Variables such as $HOME, or %USERPROFILE% on Windows, are expanded. Pipes, redirects",
    "fewer": "",
    "explore": "Later tasks are on other machines. What you find out about the shell helps you there.",
}


def rules(rendering: Rendering, *, as_published: bool = False) -> str:
    if rendering == "compact":
        return "terminal"
    if rendering == "terse":
        return terse.PUBLISHED_RULES if as_published else terse.RULES
    return _RULES.format(**(_PUBLISHED if as_published else _HOUSE))


_FENCE = re.compile(r"\A```\w*\n(.*?)\n?```\Z", re.DOTALL)


def answered(action: str) -> str:
    """A command line without the code marks and the prompt sign that a model may put around it."""
    fenced = _FENCE.match(action.strip())
    return (fenced[1] if fenced else action).strip().strip("`").strip().removeprefix("$ ").strip()


def first_observation(episode: TerminalEpisode) -> str:
    site = episode.site
    if episode.rendering == "compact":
        local, remote = site.local.identity, site.remote.identity
        where = f"{local.system} {local.host} {local.user} remote {remote.host} {remote.user}"
        return f"{where} do {_steps_compact(episode)} steps {episode.max_turns}"
    if episode.rendering == "terse":
        return terse.first_observation(episode, task_text(site, episode.task.steps))
    lines = [f"Local machine: {_machine(site.local)}", f"Remote machine: {_machine(site.remote)}"]
    if site.surface:
        lines.append(house_rules(site))
    return "\n".join([*lines, task_text(site, episode.task.steps), _prompt(episode)])


def task_text(site: Site, steps: Sequence[Step]) -> str:
    sentences = [sentence(site, step) for step in steps]
    if len(sentences) == 1:
        return f"Task: {sentences[0]}"
    return "Task:\n" + "\n".join(f"{n}. {said}" for n, said in enumerate(sentences, 1))


def sentence(site: Site, step: Step) -> str:
    """A step as a person would ask for it."""
    source, target = _place(site, step.side, step.source), _place(site, step.target_side, step.target)
    if step.verb in ("send", "fetch"):
        last = step.target[-1] == step.source[-1]
        into = _place(site, step.target_side, step.target[:-1])
        return f"Send {source} to the folder {into}." if last else f"Send {source} to {target}, replacing that file."
    if step.verb == "move":
        return f"Move {source} to {target}."
    if step.verb == "copy":
        return f"Copy {source} to {target}."
    if step.verb == "erase":
        return f"Delete {source}."
    if step.verb == "make":
        return f"Create the folder {source}."
    if step.verb == "pack":
        return f"Pack the folder {source} into the archive {target}."
    if step.verb == "unpack":
        return f"Unpack the archive {source} into the folder {target}."
    return f"Set the mode of {source} to {f'{step.mode:o}' if step.mode else 'the one that is allowed here'}."


def house_rules(site: Site) -> str:
    """What a shared world says openly. The values are what has to be found out."""
    identity = site.remote.identity
    usages = "\n".join(f"  TOOL {usage}" for usage in USAGES.values())
    return f"""\
House rules of this site, the same on both machines and in every task of this series:
- House tools replace the usual commands for sending, packing, unpacking, deleting, moving and copying files and for \
making folders. Each of these verbs has its own tool among those in {identity.write(TOOLS)}; some tools there are \
retired. Usage:
{usages}
- ssh needs -p PORT, and the port is not 22.
- Only one of the folders in {identity.write((SERVICE,))} can be written to. Tasks call it {DROP}.
- chmod accepts only one mode."""


def next_observation(episode: TerminalEpisode, ran: Sequence[Ran]) -> str:
    if episode.rendering == "compact":
        answers = " ; ".join(_answer_compact(episode, one) for one in ran)
        where = episode.shell.here.identity.host
        return f"{answers} at {where} steps {episode.max_turns - episode.turns}"
    if episode.rendering == "terse":
        return terse.next_observation(episode, ran)
    return f"{_answers(ran)}\n{_prompt(episode)}"


def ending(episode: TerminalEpisode, ran: Sequence[Ran], said: str) -> str:
    """The feedback; in full it also shows what the last commands printed, which no observation shows."""
    return f"{_answers(ran)}\n{said}" if episode.rendering == "full" else said


def transcript(episode: TerminalEpisode) -> str:
    if episode.rendering == "compact":
        done = [f"> {one.command} {_answer_compact(episode, one)}" for one in episode.log]
        return " ".join([f"do {_steps_compact(episode)}", *done])
    if episode.rendering == "terse":
        return terse.transcript(episode, task_text(episode.site, episode.task.steps))
    lines = [f"On {episode.site.side(one.side).identity.host} $ {one.command}\n{_answer(one)}" for one in episode.log]
    return "\n".join([task_text(episode.site, episode.task.steps), *lines])


def unfinished(episode: TerminalEpisode) -> str:
    """What is not as it should be when the steps are spent; as published, only that something is not."""
    if episode.as_published:
        return "You ran out of steps. The task is not done."
    wrong = [(check, check.problem(episode.shell)) for check in episode.checks]
    said = "; ".join(f"{_place(episode.site, c.side, c.label)} {problem}" for c, problem in wrong if problem)
    return f"You ran out of steps. Not done: {said}."


def _prompt(episode: TerminalEpisode) -> str:
    here = episode.shell.here
    at = f"You are on {here.identity.host} in {here.show(here.cwd)}."
    return f"Step {episode.turns + 1} of {episode.max_turns}. {at}"


def _machine(grounds: Grounds) -> str:
    identity = grounds.identity
    return f"{identity.host} ({identity.system}), user {identity.user}, home {identity.write(identity.home)}"


def _place(site: Site, side: Side, path: Parts) -> str:
    identity = site.side(side).identity
    return f"{identity.host}:{identity.write(path)}"


def _answer(one: Ran) -> str:
    return one.output or "(no output)"


def _answers(ran: Sequence[Ran]) -> str:
    """What commands printed, each below its command where there are several."""
    shown = [f"$ {one.command}\n{_answer(one)}" for one in ran] if len(ran) > 1 else [_answer(one) for one in ran]
    return "\n".join(shown)


def _answer_compact(episode: TerminalEpisode, one: Ran) -> str:
    words = [_lesson_compact(episode, lesson) for lesson in one.lessons]
    # Of an error only what is wrong, not with what: the command stands before it.
    told = one.output.rsplit(": ", 1)[-1] if one.failed else one.output
    said = "" if words else " ".join(told.split())[:200]
    return " ".join(filter(None, ["err" if one.failed else "ok", *words, said]))


def _lesson_compact(episode: TerminalEpisode, lesson: Lesson) -> str:
    surface = episode.site.surface
    if lesson.slot in LISTS and surface:
        return f"{lesson.slot} {' '.join(surface.of(lesson.slot.removesuffix('s')))}"
    return f"{lesson.slot}{'=' if lesson.holds else '!'}{lesson.value}"


def _steps_compact(episode: TerminalEpisode) -> str:
    return " , ".join(_step_compact(episode.site, step) for step in episode.task.steps)


def _step_compact(site: Site, step: Step) -> str:
    target = _place(site, step.target_side, step.target) if step.target else ""
    mode = (f"{step.mode:o}" if step.mode else "house") if step.verb == "mode" else ""
    return " ".join(filter(None, [step.verb, _place(site, step.side, step.source), target, mode]))
