"""OpenClaw, with one prompt and without its gateway (`openclaw agent exec`).

It has no limit of turns, so only the model proxy ends a session that goes on. It wants a newer Node than many systems
have: the executable may be a script that puts one first in the PATH.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from codctl.agents import executables
from codctl.agents.program import AgentProgram, End, Finished, Launch, ModelAccess, Outcome, Places, Task
from codctl.contexts.block import find_blocks
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces
from codctl.files import atomic

_PROVIDER = "codctl"
_SERVERS = "bundle-mcp"  # its name for the tools of all servers
_FILES = ("read", "write", "edit")
_USAGE = ("assistantTurns", "toolSummary", "usage", "sessionId")


class OpenClaw(AgentProgram):
    """An agent whose memory is a `MEMORY.md` in the folder that it works in."""

    name = "openclaw"
    title = "OpenClaw"
    tried = "2026.9.6"
    install = "npm install -g openclaw@2026.9.6"
    memory = "openclaw"
    has_turn_cap = False

    def executable(self) -> Path:
        return executables.find(self.name, self.title, self.install, command="openclaw")

    def version(self) -> str:
        with tempfile.TemporaryDirectory(prefix="codctl-") as home:
            places = Places(Path(home), Path(home), Path(home))
            return executables.asked_version(self.executable(), _environment(places))

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        state = _state(places)
        atomic.make_folder(state)
        config = state / "openclaw.json"
        atomic.write_text(config, json.dumps(_configuration(model, task), indent=2))
        if task.hints:
            EXPORTERS.get(self.memory).export(find_blocks(task.hints)[-1], _memory_places(places))
        argv = [str(self.executable()), "agent", "exec", "--message-file", "-", "--json"]
        argv += ["--config", str(config), "--state-dir", str(state), "--cwd", str(places.work)]
        argv += ["--thinking", "off", "--timeout", str(max(1, round(task.deadline_s)))]
        return Launch(tuple(argv), _environment(places), places.work, task.prompt)

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        said = _envelope(finished.stdout)
        usage = {key: said[key] for key in _USAGE if key in said}
        if finished.timed_out:
            return Outcome("timeout", usage=usage)
        if not said:
            return Outcome("crashed", problem=_problem(finished))
        end = _end(said)
        error = said.get("error")
        message = error.get("message") if isinstance(error, dict) else said.get("status")
        problem = "" if end == "ended" else " ".join(str(message).split())
        return Outcome(end, str(said.get("final") or ""), problem, usage)

    def kept(self, places: Places) -> str:
        return EXPORTERS.get(self.memory).own_text(_memory_places(places))


def _state(places: Places) -> Path:
    return places.home / ".openclaw"


def _memory_places(places: Places) -> MemoryPlaces:
    return MemoryPlaces(places.home, places.work)


def _environment(places: Places) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(places.home),
        "TMPDIR": str(places.temp),
        "OPENCLAW_STATE_DIR": str(_state(places)),
    }


def _configuration(model: ModelAccess, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        "models": {"mode": "replace", "providers": {_PROVIDER: _provider(model)}},
        "agents": {"defaults": {"model": {"primary": f"{_PROVIDER}/{model.name}"}}},
        "tools": {"toolSearch": False, **_tools(task)},  # with it, the world's tools are behind a search
    }
    if task.server:
        command, *arguments = task.server.argv
        found["mcp"] = {"servers": {task.server.name: {"command": command, "args": arguments}}}
    return found


def _provider(model: ModelAccess) -> dict[str, Any]:
    return {
        "baseUrl": f"{model.url}/v1",
        "apiKey": model.key,
        "api": "openai-completions",
        "models": [
            {
                "id": model.name,
                "name": model.name,
                "reasoning": False,
                "input": ["text"],
                "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
                "contextWindow": model.context_window,
                "maxTokens": model.max_tokens,
            }
        ],
    }


def _tools(task: Task) -> dict[str, Any]:
    """Which tools there are: those of the world, and of its own those that the task leaves it."""
    servers = [_SERVERS] if task.server else []
    match task.tools:
        case "all":
            return {"alsoAllow": servers}
        case "memory":
            return {"allow": [*servers, *_FILES]}
        case "none":
            return {"allow": servers or ["none"]}


def _envelope(stdout: Path) -> dict[str, Any]:
    """What it says at its end; empty where it has said nothing."""
    try:
        found = json.loads(stdout.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _end(said: dict[str, Any]) -> End:
    match said.get("status"):
        case "ok":
            return "ended"
        case "timeout":
            return "timeout"
        case _:
            # It names the model from its first request on, and its own faults come before that.
            return "model_error"


def _problem(finished: Finished) -> str:
    """What is known of a session that did not say how it ended."""
    try:
        said = finished.stderr.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        said = []
    last = next((line.strip() for line in reversed(said) if line.strip()), "no message")
    return f"it ended with exit code {finished.exit_code} and no result: {last}"
