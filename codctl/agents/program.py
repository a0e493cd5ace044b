"""What codctl needs to know of an agent program: how it is started in a home of its own, and what its end means."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from codctl.registry import Registry, an_instance_of

MODEL, KEY = "codctl", "no-secret"  # as programs are told, which reach no other model
WINDOW = 131_072  # tokens that they are told a model reads, where nobody knows: smaller ones are refused by some
End = Literal["ended", "turn_cap", "timeout", "model_error", "crashed"]


@dataclass(frozen=True)
class Places:
    """Folders of one session, all fresh, all below one folder.

    Attributes:
        home: The user's home, as the program sees it; its configuration is in it.
        work: Where it works.
        temp: For temporary files. Its path is short, since sockets are made there.
    """

    home: Path
    work: Path
    temp: Path

    @property
    def environment(self) -> dict[str, str]:
        """What every program gets: these folders, and of the user's own surroundings the PATH alone."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.temp),
        }


@dataclass(frozen=True)
class ModelAccess:
    """The model, as the program reaches it.

    Attributes:
        url: Of the session in the model proxy, without `/v1`: `http://127.0.0.1:PORT/s/ID`.
        key: What the program sends as its key; no secret of anybody's.
        name: What the program calls the model.
        context_window: Tokens that it may hold.
        max_tokens: Of one reply.
    """

    url: str
    key: str
    name: str
    context_window: int
    max_tokens: int


@dataclass(frozen=True)
class ToolServer:
    """A tool server (MCP) that the program starts and talks to through its standard input and output."""

    name: str
    argv: tuple[str, ...]

    @property
    def command(self) -> dict[str, Any]:
        """How it is started, as configurations of programs say it."""
        command, *arguments = self.argv
        return {"command": command, "args": arguments}


@dataclass(frozen=True)
class Task:
    """What a session is for.

    Attributes:
        prompt: What the user says.
        hints: The block with the hints (`codctl.contexts.block`), where they are put into the program's memory.
        server: The world's tools, if it has any.
        tools: Which of its own tools the program keeps: `none`, only its `memory`, or `all`.
        max_turns: Calls of the model that it may make.
        deadline_s: Seconds until it is ended.
    """

    prompt: str
    hints: str = ""
    server: ToolServer | None = None
    tools: Literal["none", "memory", "all"] = "none"
    max_turns: int = 50
    deadline_s: float = 600.0


@dataclass(frozen=True)
class Launch:
    """A command line that is ready to be started.

    Attributes:
        argv: The program with its arguments.
        env: Its whole environment.
        cwd: Where it starts.
        stdin: What it reads.
        speaks: `text`, or `acp` where codctl leads the session with the Agent Client Protocol, through its standard
            input and output.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: str = ""
    speaks: Literal["text", "acp"] = "text"


@dataclass(frozen=True)
class Finished:
    """How its process ended, and where its output lies.

    Attributes:
        exit_code: None where it had to be killed.
        timed_out: Whether its deadline ended it.
        stdout: File with its output (of an ACP session: one JSON message a line).
        stderr: File with its errors.
    """

    exit_code: int | None
    timed_out: bool
    stdout: Path
    stderr: Path


@dataclass(frozen=True)
class Outcome:
    """What a session came to, by what the program says of itself. World and proxy know better.

    Attributes:
        end: How it ended.
        text: Its last words.
        problem: What it says went wrong, on one line.
        usage: What it counted, by its own names.
    """

    end: End
    text: str = ""
    problem: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


class AgentProgram(ABC):
    """One agent program. An instance holds no state.

    Attributes:
        name: What users type: `claude-code`.
        title: What it is called: `Claude Code`.
        tried: The version that this code was tried with.
        install: What to type to get it.
        memory: The exporter (`codctl.contexts.exporters`) that puts hints where it reads them.
        has_turn_cap: Whether it ends by itself after `Task.max_turns`; otherwise only the proxy ends it.
    """

    name: str
    title: str
    tried: str
    install: str
    memory: str
    has_turn_cap: bool = True

    @abstractmethod
    def executable(self) -> Path:
        """Where it is: `CODCTL_CLAUDE_CODE` (the name in capitals), the PATH, or where its package puts it.

        Raises:
            PreflightError: It is not there; says how to install it.
        """

    @abstractmethod
    def version(self) -> str:
        """Its version, as it says itself or as its package does; takes at most seconds."""

    @abstractmethod
    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        """Write its configuration and the hints into the places, and say how it is started."""

    def by_hand(self, launch: Launch) -> tuple[str, ...]:
        """The same command line for a person at a terminal, who brings the prompt."""
        return launch.argv

    @abstractmethod
    def outcome(self, places: Places, finished: Finished) -> Outcome:
        """What a finished session came to. Never raises for what the program wrote."""

    @abstractmethod
    def kept(self, places: Places) -> str:
        """What its own memory holds after the session, as text; empty where it holds nothing."""


PROGRAMS: Registry[AgentProgram] = Registry(
    "agent",
    "codctl.agents",
    {
        "claude-code": "codctl.agents.claude_code:ClaudeCode",
        "hermes": "codctl.agents.hermes:Hermes",
        "openclaw": "codctl.agents.openclaw:OpenClaw",
        "qwenpaw": "codctl.agents.qwenpaw:QwenPaw",
    },
    make=an_instance_of(AgentProgram),
    hint="codctl eval --help",
)
