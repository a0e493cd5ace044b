"""Hermes Agent of Nous Research, with one prompt and without a terminal (`hermes chat --quiet --query`).

Its other way, `hermes -z`, is shorter, but asks the model before a tool server that starts slowly has named its tools,
heeds no limit of turns but its own 90, and ends with exit code 0 when the model's server has failed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codctl.agents import finding
from codctl.agents.memory import kept_text, put_hints
from codctl.agents.program import AgentProgram, Finished, Launch, ModelAccess, Outcome, Places, Task
from codctl.files import atomic

_MEMORY_CHARS = 2_200  # its default
_NO_TOOLS = "context_engine"  # a set of tools that is empty; none at all would mean those of its configuration
_CAPPED = re.compile(r"^\W*Reached maximum iterations \(\d+\)\. Requesting summary\.\.\.\n?", re.MULTILINE)
_VERSION = re.compile(r"v(\d[\w.]*)")
_SESSION = re.compile(r"^session_id: (\S+)", re.MULTILINE)


class Hermes(AgentProgram):
    """An agent with a memory of its own, `MEMORY.md`, which stands in its system prompt."""

    name = "hermes"
    title = "Hermes"
    tried = "0.19.0"
    install = "pip install 'hermes-agent[acp,mcp]==0.19.0'"
    memory = "hermes"

    def executable(self) -> Path:
        return finding.find(self, "hermes", _elsewhere())

    def version(self) -> str:
        executable = self.executable()
        # The package is asked first: `hermes --version` looks for updates, too.
        if found := finding.packaged_version(executable, "hermes_agent"):
            return found
        said = _VERSION.search(finding.said_version(executable, _environment))
        return said[1] if said else ""

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        home = _hermes_home(places)
        atomic.make_folder(home)
        atomic.write_text(home / "config.yaml", json.dumps(_configuration(model, task), indent=2))
        atomic.write_text(home / ".no-bundled-skills", "")
        atomic.write_text(home / ".update_check", json.dumps(self._up_to_date()))
        put_hints(self, places, task, home)
        argv = [str(self.executable()), "chat", "--quiet", "--max-turns", str(task.max_turns)]
        argv += ["--toolsets", ",".join(_toolsets(task))] if task.tools != "all" else []
        argv += [f"--query={task.prompt}"]  # one word, since a prompt may begin with a dash
        return Launch(tuple(argv), {**_environment(places), **_waits(task)}, places.work)

    def _up_to_date(self) -> dict[str, Any]:
        """What Hermes notes after it has looked for updates: it looks again, at pypi.org, after six hours."""
        return {"ts": time.time(), "behind": 0, "rev": None, "ver": self.version()}

    def by_hand(self, launch: Launch) -> tuple[str, ...]:
        return launch.argv[:1]  # without words it talks with a person

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        said, errors = _text(finished.stdout), _text(finished.stderr)
        session = _SESSION.search(errors)
        usage = {"session_id": session[1]} if session else {}
        if finished.timed_out:
            return Outcome("timeout", usage=usage)
        if finished.exit_code == 0 and session and not errors.startswith("Error:"):
            capped = _CAPPED.search(said)
            return Outcome("turn_cap" if capped else "ended", _CAPPED.sub("", said).strip(), usage=usage)
        # With a session, what failed is a call of the model; without one, Hermes itself.
        reason = " ".join((said or _SESSION.sub("", errors)).split()) or "it said nothing"
        problem = f"exit code {finished.exit_code}: {reason}"
        return Outcome("model_error" if session else "crashed", problem=problem, usage=usage)

    def kept(self, places: Places) -> str:
        return kept_text(self, places, _hermes_home(places)).replace("\n§\n", "\n")


def _hermes_home(places: Places) -> Path:
    return places.home / ".hermes"


def _elsewhere() -> Iterator[Path]:
    """Where its own installer puts it."""
    yield Path.home() / ".local" / "bin" / "hermes"
    yield Path.home() / ".hermes" / "hermes-agent" / "venv" / "bin" / "hermes"


def _environment(places: Places) -> dict[str, str]:
    return {
        **places.environment,
        "HERMES_HOME": str(_hermes_home(places)),
    }


def _waits(task: Task) -> dict[str, str]:
    """How long it waits for a model: a slow one is the deadline's to end, and nothing is asked twice."""
    seconds = f"{max(1.0, task.deadline_s):g}"
    names = ("API_TIMEOUT", "STREAM_READ_TIMEOUT", "API_CALL_STALE_TIMEOUT", "STREAM_STALE_TIMEOUT")
    return {**{f"HERMES_{name}": seconds for name in names}, "HERMES_STREAM_RETRIES": "0"}


def _configuration(model: ModelAccess, task: Task) -> dict[str, Any]:
    """Its config.yaml; JSON is YAML."""
    found: dict[str, Any] = {
        "model": {
            "provider": "custom",
            "default": model.name,
            "base_url": f"{model.url}/v1",
            "api_key": model.key,
            "context_length": model.context_window,
            "max_tokens": model.max_tokens,
        },
        "agent": {
            "max_turns": task.max_turns,
            "api_max_retries": 1,
            # It tells the model about the Pythons of this machine, if it finds them within ten seconds.
            "environment_probe": task.tools == "all",
        },
        # Everything that would ask the model beside the session, or write its memory behind it.
        "auxiliary": {"background_review": {"enabled": False}, "title_generation": {"enabled": False}},
        "compression": {"enabled": task.tools == "all"},
        # Longer hints would lock it out of its own memory, and could not be exported.
        "memory": {"memory_enabled": True, "memory_char_limit": max(_MEMORY_CHARS, 2 * len(task.hints))},
        "security": {"tirith_enabled": False},  # it would be downloaded
        "mcp_discovery_timeout": max(1.0, task.deadline_s),  # the first request would lack tools that come late
    }
    if task.server:
        timeout = max(1.0, task.deadline_s)
        server = {**task.server.command, "timeout": timeout, "connect_timeout": timeout}
        found["mcp_servers"] = {task.server.name: server}
    return found


def _toolsets(task: Task) -> list[str]:
    found = [task.server.name] if task.server else []
    found += ["memory"] if task.tools == "memory" else []
    return found or [_NO_TOOLS]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
