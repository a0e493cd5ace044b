"""Claude Code, without a terminal (`claude -p`): each session has a configuration of its own and asks only the proxy.

What it needs to be played this way is its own: the prompt goes through standard input, since `--tools` and others
swallow a prompt that follows them; it says how it ended in the last line of its output, where `subtype` may be
`success` although `is_error` is true.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codctl.agents import finding
from codctl.agents.last_words import ended_without
from codctl.agents.memory import kept_text, put_hints
from codctl.agents.program import AgentProgram, End, Finished, Launch, ModelAccess, Outcome, Places, Task
from codctl.contexts.exporters.base import MemoryPlaces
from codctl.contexts.exporters.claude_code import ClaudeCodeMemory
from codctl.files import atomic

_OWN_MEMORY = ClaudeCodeMemory.name
_MEMORY_TOOLS = "Read,Edit,Write"
_ALL_TOOLS = ("Bash", "Edit", "Glob", "Grep", "NotebookEdit", "Read", "Task", "WebFetch", "WebSearch", "Write")
_USAGE = ("num_turns", "duration_ms", "stop_reason", "terminal_reason")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class ClaudeCode(AgentProgram):
    """Anthropic's agent. It is proprietary, and its maker supports no models but its own behind it."""

    name = "claude-code"
    title = "Claude Code"
    tried = "2.1.332"
    install = "pip install claude-agent-sdk==0.2.189"
    memory = "claude-code"

    def executable(self) -> Path:
        return finding.find(self, "claude", _elsewhere())

    def version(self) -> str:
        said = finding.said_version(self.executable(), _environment)
        return said.split()[0] if said else ""

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        config = _config(places)
        atomic.make_folder(config)
        servers = config / "servers.json"
        atomic.write_text(servers, json.dumps({"mcpServers": _servers(task)}, indent=2))
        put_hints(self, places, task, config, _OWN_MEMORY if task.tools == "memory" else self.memory)
        argv = [str(self.executable()), "--print", "--output-format", "stream-json", "--verbose"]
        argv += ["--max-turns", str(task.max_turns)]
        argv += ["--strict-mcp-config", "--mcp-config", str(servers)]
        argv += _permissions(task)
        env = {**_environment(places), **_model_environment(model, task)}
        return Launch(tuple(argv), env, places.work, task.prompt)

    def by_hand(self, launch: Launch) -> tuple[str, ...]:
        return launch.argv[:1]  # without words it talks with a person

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        last = _last_result(finished.stdout)
        usage = {**_chosen(last, _USAGE), **_chosen(last.get("usage"), _TOKENS)}
        if finished.timed_out:
            return Outcome("timeout", usage=usage)
        if not last:
            return Outcome("crashed", problem=ended_without("result", finished))
        if (end := _end(last)) != "ended":
            return Outcome(end, problem=_reason(last), usage=usage)
        return Outcome(end, str(last.get("result") or ""), usage=usage)

    def kept(self, places: Places) -> str:
        notes = ClaudeCodeMemory().notes(MemoryPlaces(places.home, places.work, _config(places)))
        return "\n".join(filter(None, [kept_text(self, places, _config(places), _OWN_MEMORY), *notes]))


def _config(places: Places) -> Path:
    return places.home / ".claude"


def _elsewhere() -> Iterator[Path]:
    """Where its packages put it: pip's wheel, and its own installer."""
    sdk = importlib.util.find_spec("claude_agent_sdk")
    for place in (sdk and sdk.submodule_search_locations) or ():
        yield Path(place) / "_bundled" / "claude"
    yield Path.home() / ".local" / "bin" / "claude"
    yield Path.home() / ".claude" / "local" / "claude"


def _environment(places: Places) -> dict[str, str]:
    """What every call of it gets: homes of its own, and nothing that leaves this machine."""
    return {
        **places.environment,
        "CLAUDE_CODE_TMPDIR": str(places.temp),
        "CLAUDE_CONFIG_DIR": str(_config(places)),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def _model_environment(model: ModelAccess, task: Task) -> dict[str, str]:
    found = {
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_AUTH_TOKEN": model.key,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(model.max_tokens),
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(model.context_window),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(model.context_window),
        # A model that fails or is slow is the proxy's to judge: nothing is asked twice, and nothing is given up early.
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "API_TIMEOUT_MS": _ms(task.deadline_s),
        "MCP_TIMEOUT": _ms(task.deadline_s),
        "MCP_TOOL_TIMEOUT": _ms(task.deadline_s),
        "MCP_CONNECTION_NONBLOCKING": "0",  # the first request would lack the tools of a server that starts slowly
        "CLAUDE_CODE_DISABLE_THINKING": "1",
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }
    for kind in ("MODEL", "SMALL_FAST_MODEL", "DEFAULT_HAIKU_MODEL", "DEFAULT_SONNET_MODEL", "DEFAULT_OPUS_MODEL"):
        found[f"ANTHROPIC_{kind}"] = model.name
    if task.tools != "memory":
        found["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] = "1"
    if task.tools != "all":
        found["DISABLE_COMPACT"] = "1"  # the conversation is the experiment; without this its window is not believed
    return found


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _servers(task: Task) -> dict[str, Any]:
    if task.server is None:
        return {}
    return {task.server.name: {"type": "stdio", **task.server.command}}


def _permissions(task: Task) -> list[str]:
    """Which tools there are, and that the session neither asks for another nor waits for an answer."""
    allowed = [f"mcp__{task.server.name}"] if task.server else []
    match task.tools:
        case "none":
            tools, mode = [""], "dontAsk"
        case "memory":
            tools, mode = [_MEMORY_TOOLS], "dontAsk"
        case "all":
            tools, mode = ["default"], "acceptEdits"
            allowed += _ALL_TOOLS
    return [
        *("--permission-mode", mode),
        *("--tools", *tools),
        *(("--allowedTools", ",".join(allowed)) if allowed else ()),
    ]


def _last_result(stdout: Path) -> dict[str, Any]:
    """The line in which it says how it ended; empty where there is none."""
    found: dict[str, Any] = {}
    try:
        with stdout.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"type":"result"' not in line:
                    continue
                try:
                    value = json.loads(line)
                except ValueError:  # it was ended while it wrote
                    continue
                if isinstance(value, dict) and value.get("type") == "result":
                    found = value
    except OSError:
        pass
    return found


def _end(last: dict[str, Any]) -> End:
    if last.get("subtype") == "error_max_turns":
        return "turn_cap"
    if last.get("terminal_reason") in ("api_error", "model_error") or last.get("api_error_status"):
        return "model_error"
    return "crashed" if last.get("is_error") or last.get("subtype") != "success" else "ended"


def _reason(last: dict[str, Any]) -> str:
    errors = last.get("errors")
    said = "; ".join(map(str, errors)) if isinstance(errors, list) and errors else last.get("result")
    return " ".join(str(said or last.get("terminal_reason") or last.get("subtype")).split())


def _chosen(found: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: found[key] for key in keys if key in found} if isinstance(found, dict) else {}
