"""A Ralph loop: an agent program works at one prompt again and again, until a command says that the work is done.

Each iteration is a fresh session in the same workspace. Between two of them the model rewrites the hints, from what the
agent did and what the command said.

FOLDER/
  ralph.json        what was asked for
  hints/            the context: the hints of every iteration
  iterations/NNNN/  exchanges.jsonl, what the agent and the command said, and iteration.json once both have ended
  lock              held while it runs

What is there is not done again: a loop that was ended in the middle continues where it was.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.agents import acp, session
from codctl.agents.last_words import last_words
from codctl.agents.places import fresh_places, renew
from codctl.agents.program import KEY, MODEL, AgentProgram, Launch, ModelAccess, Outcome, Places, Task
from codctl.agents.proxy.models import ChatRequest
from codctl.agents.proxy.session import Session as ModelSession
from codctl.agents.sandbox import surroundings
from codctl.cod.engine import EngineError
from codctl.cod.prompts import Account, update_messages
from codctl.contexts.block import Block
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces
from codctl.contexts.exports import Place
from codctl.contexts.store import Context, Origin, Stored
from codctl.deploy.account import account_of, shorter
from codctl.errors import BackendError, RefusedError, StageError
from codctl.files import atomic, reader
from codctl.files.lock import holding
from codctl.processes import tail
from codctl.results.agent_session import EXCHANGES
from codctl.sessions.reading import read_sessions

if TYPE_CHECKING:
    from codctl.agents.proxy.server import ModelProxy
    from codctl.agents.setup import Sandbox
    from codctl.deploy.model import Deployed
    from codctl.files.records import RalphIteration, RalphLoop

_SHOWN = 300  # characters of what a program says last
_TOLD = 2_000  # characters of what the command said, as the update reads them
_BYTES_A_TOKEN = 3  # rather too few: what is counted must fit
_DIGITS = 4


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        program: The agent program.
        version: Its version.
        model: What the model is called.
        prompt: What the agent is told, every time.
        verify: The command whose exit status 0 ends the loop; no shell reads it.
        work: The workspace, which stays.
        most: Iterations at most.
        max_turns: Replies of the model in one session.
        deadline_s: Seconds of one session.
        verify_deadline_s: Seconds of the command.
        sandbox: What the agent is shut into.
    """

    program: AgentProgram
    version: str
    model: str
    prompt: str
    verify: tuple[str, ...]
    work: Path
    most: int
    max_turns: int = 50
    deadline_s: float = 3_600.0
    verify_deadline_s: float = 600.0
    sandbox: Sandbox = "none"

    def identity(self) -> dict[str, Any]:
        """What a loop that continues must agree on."""
        return {
            "agent": self.program.name,
            "model": self.model,
            "prompt_sha256": hashlib.sha256(self.prompt.encode()).hexdigest(),
            "verify": list(self.verify),
            "work": str(self.work),
        }


@dataclass(frozen=True)
class Iteration:
    """An iteration that is over.

    Attributes:
        number: From 1.
        revision: Of the hints that the agent read.
        version: Of the agent program.
        ended: How its session ended: `ended`, `turn_cap`, `timeout`, `model_error` or `crashed`.
        model_calls: Requests to the model.
        wall_s: Seconds of the session.
        exit_code: Of the command; None where its deadline ended it.
        said: The end of what the command said.
    """

    number: int
    revision: int
    version: str
    ended: str
    model_calls: int
    wall_s: float
    exit_code: int | None
    said: str

    @property
    def is_verified(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Ralph:
    """A loop by its folder."""

    folder: Path

    @property
    def context(self) -> Context:
        return Context(self.folder / "hints")

    def iterations(self) -> list[Iteration]:
        """Those that are over, in order."""
        found: list[Iteration] = []
        while iteration := self._read(len(found) + 1):
            found.append(iteration)
        return found

    def path(self, number: int) -> Path:
        return self.folder / "iterations" / f"{number:0{_DIGITS}}"

    def _read(self, number: int) -> Iteration | None:
        from codctl.files.records import RalphIteration

        found: RalphIteration | None = reader.read(self._file(number), RalphIteration, within=self.folder)
        return Iteration(**found) if found else None

    def _file(self, number: int) -> Path:
        return self.path(number) / "iteration.json"

    def keep(self, iteration: Iteration) -> None:
        atomic.write_json(self._file(iteration.number), asdict(iteration))

    @contextmanager
    def held(self, wanted: Wanted) -> Iterator[None]:
        """Hold the folder, and what was asked for in it.

        Raises:
            RefusedError: Another process holds it, or it is of another loop.
        """
        atomic.make_folder(self.folder)
        with holding(self.folder / "lock") as is_alone:
            if not is_alone:
                raise RefusedError("this loop runs already", where=str(self.folder), hint="wait for it")
            self._agree(wanted)
            self.context.create()
            yield

    def _agree(self, wanted: Wanted) -> None:
        from codctl.files.records import RalphLoop

        path, asked = self.folder / "ralph.json", wanted.identity()
        found: RalphLoop | None = reader.read(path, RalphLoop, within=self.folder)
        if found is None:
            atomic.write_json(path, asked)
            return
        other = [key for key, value in asked.items() if dict(found)[key] != value]
        if other:
            raise RefusedError(
                f"the folder holds a loop with another {' and '.join(other).replace('_sha256', '')}",
                where=str(self.folder),
                hint="name another folder with --out, or remove this one",
            )


async def loop(ralph: Ralph, wanted: Wanted, model: Deployed, tell: Callable[[Iteration, Stored], None]) -> bool:
    """Go on until the command succeeds or the iterations are used up.

    Args:
        ralph: The loop; the caller holds it.
        wanted: What is asked for.
        model: Answers the agent, and rewrites the hints.
        tell: Called after each iteration, with the hints that came of it.

    Returns:
        Whether the command succeeded.

    Raises:
        StageError: The agent or the command cannot be run.
        BackendError: The model gives no reply, to the agent or of an update.
    """
    from codctl.agents.proxy.server import ModelProxy

    async with ModelProxy.open() as proxy:
        for number in range(1, wanted.most + 1):
            done = ralph.iterations()
            new = number > len(done)
            iteration = await _play(ralph, wanted, model, proxy, number) if new else done[number - 1]
            if not iteration.is_verified:
                await _update(ralph, wanted, model, iteration)
            if new:
                tell(iteration, ralph.context.head())
            if iteration.is_verified:
                return True
    return False


async def _play(ralph: Ralph, wanted: Wanted, model: Deployed, proxy: ModelProxy, number: int) -> Iteration:
    """One session, and what the command says of it.

    Raises:
        StageError: The agent never asked the model.
        BackendError: It never got a reply.
    """
    folder, head = ralph.path(number), ralph.context.head()
    renew(folder)
    asked = proxy.session(
        model.chat,
        folder,
        max_calls=wanted.max_turns,
        max_tokens=model.max_tokens,
        name=MODEL,
        context_window=model.window,
        agent=(wanted.program.name, wanted.version),
    )
    try:
        with fresh_places() as fresh:
            places = replace(fresh, work=wanted.work)
            with _hints(ralph.context, wanted.program, places):
                ran, said = await _session(ralph, wanted, model, asked, places, folder)
    finally:
        asked.close()
    if not asked.calls:
        raise _silent(wanted.program, folder, said)
    if all(one.reply is None for one in asked.exchanges):
        raise BackendError(
            f"{wanted.program.title} got no reply of the model: {asked.exchanges[-1].error}",
            where=str(folder),
            hint="the same command tries again",
        )
    exit_code, told = await _verify(wanted, folder)
    seconds = round(ran.wall_s, 3)
    ended = _end(asked, ran, said)
    iteration = Iteration(number, head.number, wanted.version, ended, asked.calls, seconds, exit_code, told)
    ralph.keep(iteration)
    return iteration


def _end(asked: ModelSession, ran: session.Session, said: Outcome) -> str:
    """How a session ended: the proxy and the clock know better than the program."""
    if ran.finished.timed_out:
        return "timeout"
    if asked.exchanges and asked.exchanges[-1].reply is None:
        return "model_error"
    return "turn_cap" if any(one.capped for one in asked.exchanges) else said.end


async def _session(
    ralph: Ralph, wanted: Wanted, model: Deployed, asked: ModelSession, places: Places, folder: Path
) -> tuple[session.Session, Outcome]:
    head = ralph.context.head()
    hints = str(Block(ralph.context.name, head.number, head.text)) if head.text else ""
    task = Task(wanted.prompt, hints, None, "all", wanted.max_turns, wanted.deadline_s)
    access = ModelAccess(asked.url, KEY, MODEL, model.window, model.max_tokens)
    launch = wanted.program.prepare(places, access, task)
    async with surroundings(wanted.sandbox, launch, places, asked.url, [ralph.folder]) as inside:
        lead = acp.leader(launch, task)
        ran = await session.run(inside, folder, deadline_s=wanted.deadline_s, lead=lead)
    return ran, wanted.program.outcome(places, ran.finished)


@contextmanager
def _hints(context: Context, program: AgentProgram, places: Places) -> Iterator[None]:
    """Hints that stand in the workspace while the agent works, and are taken out of it again.

    Those in the program's home go with it.
    """
    memory = MemoryPlaces(places.home, places.work)
    path = EXPORTERS.get(program.memory).file(memory)
    if path is None or not path.is_relative_to(places.work):
        yield
        return
    place = Place(context, program.memory, memory)
    if context.head().text:
        place.export(force=True)
    try:
        yield
    finally:
        place.unexport(force=True)


async def _verify(wanted: Wanted, folder: Path) -> tuple[int | None, str]:
    """Exit code of the command, and the end of what it said."""
    said = folder / "verify"
    renew(said)
    launch = Launch(wanted.verify, dict(os.environ), wanted.work)
    ran = await session.run(launch, said, deadline_s=wanted.verify_deadline_s)
    text = "\n".join(filter(None, (tail(said / name).strip() for name in ("stdout", "stderr"))))
    return ran.finished.exit_code, text[-_TOLD:]


async def _update(ralph: Ralph, wanted: Wanted, model: Deployed, iteration: Iteration) -> None:
    """Rewrite the hints after an iteration, unless that is done.

    Raises:
        BackendError: The model gives no reply.
    """
    context, task = ralph.context, f"iteration {iteration.number}"
    if any(stored.origin.task == task for stored in context.all()):
        return
    head = context.head()
    sessions = read_sessions(ralph.path(iteration.number) / EXCHANGES)
    longest = max(sessions, key=lambda one: len(one.messages))  # programs also ask for titles and such
    account = account_of(longest, reward=0.0, feedback=_feedback(wanted, iteration))
    settings = model.settings
    try:
        reply = await model.updates.chat(_request(account, head.text, model))
    except EngineError as error:
        raise BackendError(
            f"the model gave no update: {error}", where=str(ralph.folder), hint="the same command continues the loop"
        ) from error
    parsed = settings.read_update(reply.written or reply.text, head.text)
    hints = head.text if parsed.problem else parsed.text
    origin = Origin("update", wanted.model, task, 0.0, parsed.edits)
    context.append(head.revision, hints, origin, problem=parsed.problem)


def _request(account: Account, hints: str, model: Deployed) -> ChatRequest:
    """The update's prompt, with as much of the session as fits; of the last try, nothing more can be left out."""
    settings = model.settings
    room = (model.window - settings.update_tokens) * _BYTES_A_TOKEN
    messages: list[dict[str, str]] = []
    for shown in shorter(account):
        messages = update_messages(hints, shown, settings.rendering, settings.suggested_tokens, settings.update)
        if sum(len(message["content"].encode()) for message in messages) <= room:
            break
    return ChatRequest(messages, max_tokens=settings.update_tokens)


def _feedback(wanted: Wanted, iteration: Iteration) -> str:
    ends = {"timeout": " The agent ran out of time.", "turn_cap": " The agent ran out of turns."}
    how = ends.get(iteration.ended, "")
    code = "did not end in time" if iteration.exit_code is None else f"ended with exit status {iteration.exit_code}"
    said = f" It said:\n{iteration.said}" if iteration.said else ""
    return f"The work is not done yet.{how} The check `{shlex.join(wanted.verify)}` {code}.{said}"


def _silent(program: AgentProgram, folder: Path, said: Outcome) -> StageError:
    reason = said.problem or last_words(folder) or "it said nothing"
    return StageError(
        f"{program.title} ended without asking the model: {reason[-_SHOWN:]}",
        where=str(folder),
        hint=f"codctl doctor --agent {program.name}",
    )


def words_of(command: str) -> tuple[str, ...]:
    """A command as a list of words, as a shell would split it; nothing else of a shell's is done to it.

    Raises:
        ValueError: A quote is not closed, or there is no word in it.
    """
    words = tuple(shlex.split(command))
    if not words:
        raise ValueError("it is empty")
    return words


def curve(iterations: Sequence[Iteration]) -> list[dict[str, Any]]:
    """What --json shows of them."""
    return [{**asdict(one), "verified": one.is_verified} for one in iterations]


_ENDS = {
    "ended": "the agent ended",
    "turn_cap": "the agent used up its turns",
    "timeout": "the agent ran out of time",
    "model_error": "the model gave no reply",
    "crashed": "the agent crashed",
}


def in_words(iteration: Iteration) -> str:
    """What came of an iteration, on one line."""
    code = iteration.exit_code
    check = "succeeded" if code == 0 else "ran out of time" if code is None else f"failed with exit status {code}"
    replies = f"{iteration.model_calls} repl{'ies' if iteration.model_calls != 1 else 'y'}"
    how = _ENDS.get(iteration.ended, iteration.ended)
    return f"{how} after {replies} and {iteration.wall_s:.1f} s; the check {check}"
