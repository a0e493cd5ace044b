"""Episodes that an agent program plays: a session for each, between the model's proxy and the world's tool server.

What came of an episode is asked of the world and of the proxy. What the program says of itself, and its exit code, are
only told: Hermes ends with 0 after an error, and Claude Code calls an error a success.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from codctl.agents import acp, session
from codctl.agents.last_words import last_words
from codctl.agents.places import fresh_places, renew
from codctl.agents.program import KEY, MODEL, AgentProgram, End, ModelAccess, Outcome, Places, Task
from codctl.agents.prompt import task_prompt
from codctl.agents.proxy.models import ChatModel
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.proxy.session import Exchange, acting_request
from codctl.agents.proxy.session import Session as ModelSession
from codctl.agents.sandbox import surroundings
from codctl.agents.setup import AgentSetup
from codctl.agents.update_prompt import memory_prompt
from codctl.agents.world import World
from codctl.agents.world_server import WorldServer
from codctl.cod.attempt import Attempt, Performance, Rewritten
from codctl.cod.engine import EngineError
from codctl.config.names import plain
from codctl.contexts.block import Block, find_blocks, holds_marker
from codctl.contexts.exporters.base import BudgetError
from codctl.envs.base import Message, PolicyView
from codctl.errors import StageError, UsageError
from codctl.outcomes import ReplyFault
from codctl.results.agent_session import SESSIONS

STOPPED = "The agent stopped before the task was over."
_CONTEXT = "evaluation"  # what the hints' block is called
_REPLY = 8_192  # tokens of a reply, as the program is told
_CALLS = {"none": (2, 10), "all": (4, 40)}  # of the model: so many for each turn of the task, and so many more
_UPDATE_CALLS = 20
_SHOWN = 300  # characters of what a program says last
_SILENT_IN_A_ROW = 3  # sessions that never reached the model, until the evaluation ends


class Models(Protocol):
    """Makes the models of sessions."""

    @property
    def context_window(self) -> int:
        """Tokens that they read, as the program is told."""

    def solving(self, attempt: Attempt, seed: int) -> ChatModel:
        """The model of a solve episode."""

    def updating(self, view: PolicyView, rollout: int, seed: int) -> ChatModel:
        """The model of a session in which the program writes its memory."""


@dataclass
class _Silence:
    """Sessions in a row that never reached the model: a program that cannot run, and not a hard task."""

    in_a_row: int = 0


@dataclass(frozen=True)
class AgentPerformer:
    """Plays episodes with an agent program (`codctl.cod.attempt.Performer`).

    Attributes:
        program: Which one.
        setup: How it plays.
        proxy: Through which it reaches the model.
        folder: Of the evaluation.
        models: Makes the models of its sessions.
        seed: Of the sampling.
        name: What the folders of sessions begin with.
        part: Of the suite, where it has several: a folder between.
    """

    program: AgentProgram
    setup: AgentSetup
    proxy: ModelProxy
    folder: Path
    models: Models
    seed: int = 0
    name: str = ""
    part: str = ""
    silence: _Silence = field(default_factory=_Silence)

    @property
    def rewrites(self) -> bool:
        return self.setup.update == "agent"

    def within(self, name: str, seed: int) -> AgentPerformer:
        return replace(self, name=name, seed=seed)

    async def perform(self, attempt: Attempt) -> Performance:
        view, world, calls = attempt.view, World(attempt), _CALLS[self.setup.tools]
        model = self.models.solving(attempt, self.seed)
        most = calls[0] * attempt.episode.max_turns + calls[1]
        prompt = task_prompt(view.slot, attempt.settings.rendering)
        task = Task(prompt, _block(view), None, self.setup.tools, most, self.setup.deadline_s)
        path = self._path(view, attempt.rollout)
        with self._places(path) as places:
            async with WorldServer.open(world.observe, world.act, places.temp) as server:
                task = replace(task, server=server.tools)
                played = await self._session(model, path, places, task, lambda: attempt.episode.done)
        if not attempt.episode.done:
            self._settle(attempt, played, model.protocol)
        self._hear(played, path)
        return self._performance(played, path, view.hints, server.calls)

    async def rewrite(self, view: PolicyView, rollout: int, messages: Sequence[Message]) -> Rewritten:
        path = self._path(view, rollout, "-update")
        task = Task(memory_prompt(messages), _block(view), None, "memory", _UPDATE_CALLS, self.setup.deadline_s)
        with self._places(path) as places:
            model = self.models.updating(view, rollout, self.seed)
            played = await self._session(model, path, places, task, lambda: False)
            text = self.program.kept(places)
        self._hear(played, path)
        if fault := played.fault(self):
            raise _RewriteError(fault)
        return Rewritten(text, self._performance(played, path, view.hints, 0))

    @contextmanager
    def _places(self, path: Path) -> Iterator[Places]:
        """Fresh folders of a session, whose own folder is made anew."""
        renew(path)
        with fresh_places(path if self.setup.keep_homes else None) as places:
            yield places

    def _path(self, view: PolicyView, rollout: int, what: str = "") -> Path:
        pack = plain(view.pack.id)
        return self.folder / SESSIONS / self.part / f"{self.name}-{pack}-{rollout}-{view.position}{what}"

    async def _session(
        self, model: ChatModel, path: Path, places: Places, task: Task, is_over: Callable[[], bool]
    ) -> _Played:
        """Let the program go through a session."""
        asked = self.proxy.session(
            model,
            path,
            max_calls=task.max_turns,
            name=MODEL,
            context_window=self.models.context_window,
            agent=(self.setup.name, self.setup.version),
        )
        try:
            try:
                access = ModelAccess(asked.url, KEY, MODEL, self.models.context_window, _REPLY)
                launch = self.program.prepare(places, access, task)
            except (BudgetError, UsageError) as error:  # the model's hints do not fit into the program's memory
                return _Played(asked, None, Outcome("crashed", problem=error.message), unfit=error.message)
            lead, hidden = acp.leader(launch, task), [self.folder]
            async with surroundings(self.setup.sandbox, launch, places, asked.url, hidden) as inside:
                ran = await session.run(inside, path, deadline_s=task.deadline_s, is_over=is_over, lead=lead)
            return _Played(asked, ran, self.program.outcome(places, ran.finished))
        finally:
            asked.close()

    def _settle(self, attempt: Attempt, played: _Played, protocol: str) -> None:
        """End an episode that the program has left open."""
        if fault := played.fault(self):
            attempt.lose(fault, "the episode was not played to its end")
        elif protocol == "answer" and not attempt.replies:
            words = f"{self.program.title} ended before the model was asked for an action"
            attempt.lose(ReplyFault("lost", words), "the episode was not played to its end")
        else:
            attempt.episode.end(0.0, STOPPED)

    def _hear(self, played: _Played, path: Path) -> None:
        """Give up on a program that never reaches its model, however often it is started.

        Raises:
            StageError: With what it said last.
        """
        self.silence.in_a_row = 0 if played.asked.calls or played.unfit else self.silence.in_a_row + 1
        if self.silence.in_a_row < _SILENT_IN_A_ROW:
            return
        raise StageError(
            f"{self.program.title} has ended {self.silence.in_a_row} times without asking the model: "
            f"{last_words(path)[-_SHOWN:] or 'it said nothing'}",
            where=str(path),
            hint=f"codctl doctor --agent {self.program.name}",
        )

    def _performance(self, played: _Played, path: Path, hints: str, tool_calls: int) -> Performance:
        return Performance(
            agent=self.setup.name,
            version=self.setup.version,
            protocol=self.setup.protocol,
            ended=played.end,
            model_calls=played.asked.calls,
            tool_calls=tool_calls,
            wall_s=round(played.ran.wall_s, 3) if played.ran else 0.0,
            peak_mb=round(played.ran.peak_mb, 1) if played.ran else 0.0,
            context=context_in(played.asked.exchanges, hints),
            session=str(path.relative_to(self.folder)),
        )


@dataclass(frozen=True)
class _Played:
    """A session that is over.

    Attributes:
        asked: What the model was asked in it.
        ran: Its process; None where it was not started.
        said: What the program says of it.
        unfit: Why the hints could not be put into its memory.
    """

    asked: ModelSession
    ran: session.Session | None
    said: Outcome
    unfit: str = ""

    @property
    def is_late(self) -> bool:
        return self.ran is not None and self.ran.finished.timed_out

    @property
    def end(self) -> End:
        """How it ended: the proxy and the clock know better than the program."""
        if self.is_late:
            return "timeout"
        if self.asked.fault:
            return "model_error"
        if any(one.capped for one in self.asked.exchanges):
            return "turn_cap"
        return self.said.end if self.asked.calls else "crashed"

    def fault(self, performer: AgentPerformer) -> ReplyFault | None:
        """Why what was left open has no score: neither the model nor the agent could do better."""
        title = performer.program.title
        if self.unfit:
            return ReplyFault("rejected", self.unfit)
        if self.asked.fault:
            return self.asked.fault
        if self.is_late:
            return ReplyFault("lost", f"{title} did not end within {performer.setup.deadline_s:g} s")
        if not self.asked.calls:
            return ReplyFault(
                "lost", f"{title} ended before it asked the model: {self.said.problem or 'no reason given'}"
            )
        if self.said.end == "model_error":  # the proxy has answered all that it was asked: the connection was lost
            return ReplyFault("lost", f"{title} lost its model: {self.said.problem or 'no reason given'}")
        return None


class _RewriteError(EngineError):
    """An update that was not played."""

    def __init__(self, fault: ReplyFault) -> None:
        super().__init__(fault.words)
        self.kind = fault.kind


def context_in(exchanges: Sequence[Exchange], hints: str) -> str:
    """Whether the hints stood in the first request that could act on them: `whole`, `cut`, `absent`; `none` without."""
    if not hints:
        return "none"
    request = acting_request(exchanges)
    text = request.text if request else ""
    if any(block.text == hints for block in find_blocks(text)):
        return "whole"
    return "cut" if holds_marker(text) else "absent"


def _block(view: PolicyView) -> str:
    """The hints in force as they are put into the program's memory; none without hints."""
    return str(Block(_CONTEXT, view.position, view.hints)) if view.hints else ""
