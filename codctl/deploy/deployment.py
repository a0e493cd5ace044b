"""A model inside an agent program of a person: where all of it lies, and how the person starts the program.

CONTEXT/agents/AGENT/
  home/, work/      the program's own, unless the person names others; kept, with what the program remembers
  start             starts the program with the model, as long as `codctl deploy` runs
  sessions/TIME/    exchanges.jsonl: every request of the program, and what the model replied
  deployment.json   while it runs: how it is reached
  lock              held while it runs
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.agents.program import AgentProgram, ModelAccess, Places, Task
from codctl.contexts.exporters.base import MemoryPlaces
from codctl.contexts.exports import Place
from codctl.contexts.store import Context
from codctl.errors import UsageError
from codctl.files import atomic, reader
from codctl.files.lock import is_locked
from codctl.results.agent_session import EXCHANGES

if TYPE_CHECKING:
    from codctl.files.records import Deployed

AGENTS, SESSIONS, RECORD, LOCK = "agents", "sessions", "deployment.json", "lock"
_MOST_TURNS = 500
_PATIENCE_S = 3_600.0  # of the program with a reply, and with its tools


@dataclass(frozen=True)
class Deployment:
    """See the module.

    Attributes:
        program: Which one.
        context: Whose hints it reads.
        home: The program's home; None for one of its own.
        work: Where it works; None for a folder of its own.
    """

    program: AgentProgram
    context: Context
    home: Path | None = None
    work: Path | None = None

    @property
    def folder(self) -> Path:
        return self.context.folder / AGENTS / self.program.name

    @property
    def owns_home(self) -> bool:
        """Whether the home is codctl's to configure; a person's is only shown what to put there."""
        return self.home is None

    def places(self, temp: Path) -> Places:
        home, work = self.home or self.folder / "home", self.work or self.folder / "work"
        return Places(home.absolute(), work.absolute(), temp)

    def memory(self, temp: Path) -> Place:
        """Where its hints go."""
        places = self.places(temp)
        return Place(self.context, self.program.memory, MemoryPlaces(places.home, places.work))

    def new_session(self) -> Path:
        """The folder for the record of a deployment that begins."""
        return self.folder / SESSIONS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


@dataclass(frozen=True)
class Configured:
    """A program that is ready to be started by a person.

    Attributes:
        argv: What to type; more words may follow.
        env: Variables that it needs.
        files: Its configuration, where it is a person's to put in place: path → content.
        work: Where it works: its memory may be there.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]
    work: Path

    @property
    def command(self) -> str:
        """One line for a shell."""
        words = shlex.join(["env", *(f"{name}={value}" for name, value in self.env.items()), *self.argv])
        return f"cd {shlex.quote(str(self.work))} && {words}"

    @property
    def script(self) -> str:
        """A shell script that starts the program with nothing of the surroundings but the terminal."""
        env = shlex.join(f"{name}={value}" for name, value in self.env.items())
        command = f'exec env -i TERM="${{TERM:-dumb}}" {env} {shlex.join(self.argv)} "$@"'
        return f"#!/bin/sh\n# Made by codctl deploy.\ncd {shlex.quote(str(self.work))} || exit\n{command}\n"


def configure(program: AgentProgram, places: Places, access: ModelAccess) -> Configured:
    """Write the program's configuration into its places."""
    task = Task("", tools="all", max_turns=_MOST_TURNS, deadline_s=_PATIENCE_S)
    launch = program.prepare(places, access, task)
    return Configured(program.by_hand(launch), launch.env, {}, places.work)


def shown(program: AgentProgram, places: Places, access: ModelAccess, theirs: Places) -> Configured:
    """What a program in a person's own home needs, written into places that are thrown away.

    Args:
        program: Which one.
        places: Thrown away.
        access: To the model.
        theirs: The person's.
    """

    def moved(text: str) -> str:
        return text.replace(str(places.home), str(theirs.home)).replace(str(places.work), str(theirs.work))

    made = configure(program, places, access)
    files = {
        moved(str(path)): moved(path.read_text(encoding="utf-8", errors="replace"))
        for path in sorted(places.home.rglob("*"))
        if path.is_file() and path.stat().st_size
    }
    env = {name: value for name, value in made.env.items() if not _is_about(value, places) and name not in _USUAL}
    return Configured(tuple(map(moved, made.argv)), env, files, theirs.work)


_USUAL = ("PATH", "LANG", "HOME", "TMPDIR")


def _is_about(value: str, places: Places) -> bool:
    return any(str(place) in value for place in (places.home, places.work, places.temp))


def write_record(deployment: Deployment, value: Mapping[str, Any]) -> None:
    """Say how a deployment that runs is reached; only its owner can read it."""
    atomic.write_json(deployment.folder / RECORD, value, mode=0o600)


def running(context: Context) -> Deployed | None:
    """How the deployment of a context that runs is reached; None where none does.

    Raises:
        UsageError: Several do.
    """
    from codctl.files.records import Deployed

    found = [
        record
        for folder in _agents(context)
        if is_locked(folder / LOCK) and (record := reader.read(folder / RECORD, Deployed))
    ]
    if len(found) > 1:
        names = " and ".join(record["agent"] for record in found)
        raise UsageError(f"context {context.name} is deployed in {names}", hint="say which model updates it: --run RUN")
    return found[0] if found else None


def last_session(context: Context) -> Path:
    """The newest record of what an agent did with a context.

    Raises:
        UsageError: There is none.
    """
    found = [path for folder in _agents(context) for path in folder.glob(f"{SESSIONS}/*/{EXCHANGES}")]
    if not found:
        raise UsageError(
            f"no session with context {context.name} is recorded",
            where=str(context.folder / AGENTS),
            hint=f"codctl deploy RUN --agent NAME --context {context.name}, or --trajectory FILE",
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _agents(context: Context) -> Iterator[Path]:
    yield from sorted((context.folder / AGENTS).glob("*"))
