"""OpenClaw, with one prompt and without its gateway (`openclaw agent exec`).

It has no limit of turns, so only the model proxy ends a session that goes on. It wants a newer Node than many systems
have: the executable may be a script that puts one first in the PATH.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codctl.agents import finding
from codctl.agents.last_words import ended_without
from codctl.agents.memory import kept_text, put_hints
from codctl.agents.program import AgentProgram, End, Finished, Launch, ModelAccess, Outcome, Places, Task
from codctl.files import atomic
from codctl.processes import tail

_PROVIDER = "codctl"
_SERVERS = "bundle-mcp"  # its name for the tools of all servers
_ONE_PROMPT = ("--message-file", "-", "--json")  # read from the standard input, answered as JSON
_FILES = ("read", "write", "edit")
_ASKED = "[model-fetch]"  # in its log: it got an answer from a model, and says so where that was an error
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
        return finding.find(self, "openclaw")

    def version(self) -> str:
        return finding.version_in(finding.said_version(self.executable(), _environment))

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        state = _state(places)
        atomic.make_folder(state)
        config = state / "openclaw.json"
        atomic.write_text(config, json.dumps(_configuration(model, task), indent=2))
        settings = state / "agents" / "main" / "agent" / "settings.json"
        atomic.make_folder(settings.parent)
        atomic.write_text(settings, json.dumps({"retry": {"enabled": False, "provider": {"maxRetries": 0}}}))
        put_hints(self, places, task)
        argv = [str(self.executable()), "agent", "exec", *_ONE_PROMPT]
        argv += ["--config", str(config), "--state-dir", str(state), "--cwd", str(places.work)]
        argv += ["--thinking", "off", "--timeout", str(max(1, round(task.deadline_s)))]
        return Launch(tuple(argv), _environment(places), places.work, task.prompt)

    def by_hand(self, launch: Launch) -> tuple[str, ...]:
        return tuple(word for word in launch.argv if word not in _ONE_PROMPT)

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        said = _envelope(finished.stdout)
        usage = {key: said[key] for key in _USAGE if key in said}
        if finished.timed_out:
            return Outcome("timeout", usage=usage)
        if not said:
            return Outcome("crashed", problem=ended_without("result", finished))
        end = _end(said, finished)
        return Outcome(end, str(said.get("final") or ""), "" if end == "ended" else _reason(said), usage)

    def kept(self, places: Places) -> str:
        return kept_text(self, places)


def _state(places: Places) -> Path:
    return places.home / ".openclaw"


def _environment(places: Places) -> dict[str, str]:
    return {
        **places.environment,
        "OPENCLAW_STATE_DIR": str(_state(places)),
    }


def _configuration(model: ModelAccess, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        "models": {"mode": "replace", "providers": {_PROVIDER: _provider(model)}},
        "agents": {"defaults": {"model": {"primary": f"{_PROVIDER}/{model.name}"}}},
        "tools": {"toolSearch": False, **_tools(task)},  # with it, the world's tools are behind a search
    }
    if task.server:
        found["mcp"] = {"servers": {task.server.name: task.server.command}}
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


def _end(said: dict[str, Any], finished: Finished) -> End:
    match said.get("status"):
        case "ok":
            return "ended"
        case "timeout":
            return "timeout"
        case _:
            return "model_error" if _ASKED in tail(finished.stderr) else "crashed"


def _reason(said: dict[str, Any]) -> str:
    error = said.get("error")
    message = error.get("message") if isinstance(error, dict) else ""
    return " ".join(str(message or said.get("status")).split())
