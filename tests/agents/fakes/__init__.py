"""Agent programs with the habits of the real ones, as small Python programs.

`--agent tests.agents.fakes:LikeHermes` plays in one, as any agent program that a package adds.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from codctl.agents.program import AgentProgram, End, Finished, Launch, ModelAccess, Outcome, Places, Task

AGENT = Path(__file__).with_name("agent.py")


class Fake(AgentProgram):
    """A program with no bad habit."""

    name = "fake"
    title = "Fake"
    tried = "1.0"
    install = "nothing"
    memory = "prompt"
    dialect = "openai"
    habits: tuple[str, ...] = ()

    def executable(self) -> Path:
        return AGENT

    def version(self) -> str:
        return self.tried

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        if task.hints:
            self._memory(places).write_text(f"Notes of its user.\n\n{task.hints}\n")
        config = {
            "url": model.url,
            "key": model.key,
            "dialect": self.dialect,
            "habits": self.habits,
            "memory": str(self._memory(places)),
            "servers": {task.server.name: task.server.argv} if task.server else {},
            "own_tools": task.tools != "none",
            "max_turns": task.max_turns if self.has_turn_cap else None,
        }
        path = places.home / "config.json"
        path.write_text(json.dumps(config))
        installed = Path(shutil.copy(AGENT, places.home))  # a sandbox may cover the folder of the tests
        argv = (sys.executable, "-I", "-S", str(installed), str(path))
        return Launch(argv, {"HOME": str(places.home)}, places.work, task.prompt)

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        if finished.timed_out:
            return Outcome("timeout")
        problem = " ".join(finished.stderr.read_text().split())
        end: End = "crashed" if finished.exit_code else "ended"
        return Outcome(end, finished.stdout.read_text(), problem)

    def kept(self, places: Places) -> str:
        return self._memory(places).read_text() if self._memory(places).is_file() else ""

    def _memory(self, places: Places) -> Path:
        return places.home / "MEMORY.md"


class LikeHermes(Fake):
    """Wraps what tools return, streams, and ends with 0 after an error."""

    title = "Like Hermes"
    habits = ("wraps results", "long tool names", "streams", "ends with 0 after an error")


class LikeClaude(Fake):
    """Speaks Anthropic's dialect, with a system message in the middle, and repeats a request whose reply was cut."""

    title = "Like Claude Code"
    dialect = "anthropic"
    habits = ("long tool names", "asks for a title")


class LikeOpenClaw(Fake):
    """Goes on as long as the model does."""

    title = "Like OpenClaw"
    has_turn_cap = False


class Cutting(Fake):
    habits = ("cuts its memory",)


class Dying(Fake):
    habits = ("dies by a signal",)


class Hanging(Fake):
    habits = ("hangs",)


class Lingering(Fake):
    habits = ("hangs at the end",)


class Talking(Fake):
    habits = ("never calls a tool",)


class Losing(Talking):
    """Says that it could not reach its model, which the proxy knows nothing of."""

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        return Outcome("model_error", problem="network connection error")


class Denying(Fake):
    habits = ("denies tools", "ends with 0 after an error")


class Broken(Fake):
    habits = ("dies at once",)
