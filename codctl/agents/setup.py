"""What an evaluation by an agent program is: which program, how it reaches the model, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from codctl.runs.eval_result import AgentInfo

Protocol = Literal["answer", "tools"]
Update = Literal["codctl", "agent"]
Tools = Literal["none", "all"]
Sandbox = Literal["none", "unshare"]
DEADLINE_S = 600.0


@dataclass(frozen=True)
class AgentSetup:
    """An agent program between model and world.

    Attributes:
        name: In the registry: `claude-code`.
        title: For people: `Claude Code`.
        version: Of the program that is installed here.
        protocol: `answer`: the model is shown the form that it was trained on; `tools`: it reads what the agent writes.
        update: Who writes the hints: the model with codctl's prompt, or the agent with its own memory.
        tools: The program's own tools that it keeps beside those of the world.
        deadline_s: Seconds of one session.
        sandbox: What its processes are shut into.
        concurrency: Sessions at once.
        keep_homes: Whether the folders that it lived in are kept.
    """

    name: str
    title: str
    version: str
    protocol: Protocol
    update: Update = "codctl"
    tools: Tools = "none"
    deadline_s: float = DEADLINE_S
    sandbox: Sandbox = "none"
    concurrency: int = 1
    keep_homes: bool = False

    def describe(self) -> AgentInfo:
        """What result.json says about it."""
        return AgentInfo(self.name, self.title, self.version, self.protocol, self.update, self.tools, self.sandbox)

    def identity(self) -> dict[str, Any]:
        """What may change a result."""
        keys = ("name", "version", "protocol", "update", "tools")
        return {key: getattr(self, key) for key in keys}
