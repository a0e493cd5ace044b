"""Every text of TerminalSimulator but the hints; those of the terse rendering are in `terse`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.terminal import terse
from codctl.envs.terminal.commands.house import USAGES
from codctl.envs.terminal.filesystem import Parts
from codctl.envs.terminal.rules import LISTS, SERVICE, TOOLS, Lesson
from codctl.envs.terminal.sites import Grounds, Side, Site
from codctl.envs.terminal.tasks import DROP, MAX_STEPS, Step

if TYPE_CHECKING:
    from codctl.envs.terminal.episode import TerminalEpisode
    from codctl.envs.terminal.shell import Ran

_RULES = f"""You work at the shell of a local machine; a remote machine can be reached from it. Get the task done.
Each turn you answer with one command line. Commands may be joined with && or ; and each command is one step; there are
{MAX_STEPS} steps. Pipes, redirects, variables and wildcards are not available. A command that fails changes nothing.
Commands: ls cd pwd cat mkdir chmod cp mv rm touch echo whoami ssh exit scp rsync tar zip unzip gzip gunzip. On Windows
chmod touch rsync tar gzip gunzip are missing, and there are also dir type copy move del ren. `ssh HOST` leads to the
remote machine, `exit` back; files are sent between the machines from the local one. A site may have house rules; what
holds for one task then holds for all tasks at that site. The task ends as soon as everything it asks for is so.

Hints from earlier tasks in this series (your own notes; they may be wrong, incomplete or not apply here):
{{hints}}

Think briefly (at most a few sentences), then end your reply with exactly one line <answer>COMMAND LINE</answer>."""


def solve_prompt(hints: str, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"terminal hints {hints or 'none'}"
    if rendering == "terse":
        return terse.RULES.format(hints=hints or "none yet")
    return _RULES.format(hints=hints or "(none yet)")


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
        return f"Bring {source} into the folder {into}." if last else f"Bring {source} in place of {target}."
    if step.verb == "move":
        return f"Move {source} so that it becomes {target}."
    if step.verb == "copy":
        return f"Copy {source} to {target}."
    if step.verb == "erase":
        return f"Delete {source}."
    if step.verb == "make":
        return f"Make the folder {source}."
    if step.verb == "pack":
        return f"Pack the folder {source} into the archive {target}."
    if step.verb == "unpack":
        return f"Unpack the archive {source} into the folder {target}."
    return f"Give {source} the mode {f'{step.mode:o}' if step.mode else 'that is allowed here'}."


def house_rules(site: Site) -> str:
    """What a shared world says openly. The values are what has to be found out."""
    identity = site.remote.identity
    usages = "\n".join(f"  TOOL {usage}" for usage in USAGES.values())
    return f"""House rules of this site, the same on both machines:
- House tools replace the usual commands that send, pack, unpack, delete, move, copy and make folders. Each verb has a
  tool of its own among those in {identity.write(TOOLS)}; some tools are retired. They are called so:
{usages}
- ssh needs -p PORT, and the port is not 22.
- Of the folders in {identity.write((SERVICE,))} only one can be written to. Tasks call it {DROP}.
- chmod takes one mode only."""


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
    """What is not as it should be when the steps are spent."""
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
