"""QwenPaw, through the Agent Client Protocol (`qwenpaw acp`).

Its command for a single prompt, `qwenpaw task`, ignores the model that it is given, has no tools, and asks a model on
the internet. `acp --runtime-provider openai-env` takes the model from the environment and has no other: whether that is
so, each request shows, since it must have gone through the proxy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from codctl.agents import acp, finding
from codctl.agents.last_words import ended_without
from codctl.agents.memory import kept_text, put_hints
from codctl.agents.program import AgentProgram, End, Finished, Launch, ModelAccess, Outcome, Places, Task
from codctl.files import atomic

_ERROR = "qwenpaw.error"
_CAPPED, _ITERATIONS = "[Warning] Agent ", "has reached the maximum number of iterations"
_MEMORY = "MEMORY.md"
_OWN_MEMORY = "openclaw"  # the exporter whose file is called so, too
_ABOUT_MEMORY = (
    f"Your memory is the file {_MEMORY} in this folder. What is written there, you will read in later sessions.\n"
)
_FILES = ("read_file", "write_file", "edit_file")
_TOOLS = (
    *("activate_f1_exploration_mode", "append_file", "browser", "chat_with_agent", "check_agent_task"),
    *("delegate_external_agent", "desktop_screenshot", "execute_shell_command", "get_current_time", "get_token_usage"),
    *("glob_search", "grep_search", "list_agents", "run_tool_batch", "send_file_to_user", "set_user_timezone"),
    *("spawn_subagent", "submit_to_agent", "view_audio", "view_image", "view_video", "web_fetch", "web_search"),
)  # beside those for files; it adds those that a configuration does not name
_PROMPT_FILES = ("AGENTS.md", "SOUL.md", "PROFILE.md")  # as it reads by default


class QwenPaw(AgentProgram):
    """An agent whose workspace, with its memory, is a folder of its own beside the one that it works in."""

    name = "qwenpaw"
    title = "QwenPaw"
    tried = "2.2.2.post1"
    install = "pip install qwenpaw==2.2.2.post1"
    memory = "qwenpaw"

    def executable(self) -> Path:
        return finding.find(self, "qwenpaw")

    def version(self) -> str:
        executable = self.executable()
        if found := finding.packaged_version(executable, "qwenpaw"):  # asking takes half a minute
            return found
        return finding.version_in(finding.said_version(executable, _environment))

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        workspace, keeps = _workspace(places), task.tools == "memory"
        atomic.make_folder(workspace)
        atomic.write_text(workspace / "agent.json", json.dumps(_configuration(places, task), indent=2))
        if keeps:
            atomic.write_text(workspace / "AGENTS.md", _ABOUT_MEMORY)
            put_hints(self, _at_home(places), task, exporter=_OWN_MEMORY)
        else:
            put_hints(self, places, task, _own(places))
        argv = (str(self.executable()), "acp", "--runtime-provider", "openai-env")
        env = {**_environment(places), **_model_environment(model)}
        return Launch(argv, env, workspace if keeps else places.work, speaks="acp")

    def outcome(self, places: Places, finished: Finished) -> Outcome:
        said = _Said.read(finished.stdout)
        if finished.timed_out:
            return Outcome("timeout", usage=said.usage)
        if said.answer is None:
            return Outcome(
                "crashed", problem=_in_one_line(ended_without("answer", finished, said.text)), usage=said.usage
            )
        error = said.answer.get("error")
        if said.has_failed or error:
            reason = said.text or (error.get("message") if isinstance(error, dict) else error)
            return Outcome("model_error", problem=_in_one_line(str(reason)), usage=said.usage)
        return Outcome(_end(said), said.text.partition(_CAPPED)[0].strip(), usage=said.usage)

    def kept(self, places: Places) -> str:
        return kept_text(self, _at_home(places), exporter=_OWN_MEMORY)


@dataclass(frozen=True)
class _Said:
    """What it told of a session.

    Attributes:
        answer: To the prompt, as a message; None where there is none.
        text: Its words since it last called a tool.
        has_failed: Whether these are an error's.
        usage: Of its last request of the model.
    """

    answer: acp.Message | None
    text: str
    has_failed: bool
    usage: Mapping[str, Any]

    @classmethod
    def read(cls, stdout: Path) -> Self:
        try:
            messages = list(acp.read_messages(stdout.read_text(encoding="utf-8", errors="replace").splitlines()))
        except OSError:
            messages = []
        text, failed, usage = "", False, dict[str, Any]()
        for update in acp.updates(messages):
            kind, meta, content = (update.get(key) for key in ("sessionUpdate", "_meta", "content"))
            if kind == "tool_call":
                text = ""
            if kind == "agent_message_chunk" and isinstance(content, dict):
                text += str(content.get("text") or "")
            if isinstance(meta, dict):
                failed = failed or meta.get(_ERROR) is True
                if isinstance(found := meta.get("usage"), dict):
                    usage = found
        return cls(acp.answer_to_prompt(messages), text.strip(), failed, usage)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _end(said: _Said) -> End:
    result = (said.answer or {}).get("result")
    if isinstance(result, dict) and result.get("stopReason") == "cancelled":
        return "timeout"
    return "turn_cap" if _CAPPED in said.text and _ITERATIONS in said.text else "ended"


def _workspace(places: Places) -> Path:
    return _own(places) / "workspaces" / "default"


def _own(places: Places) -> Path:
    return places.home / ".qwenpaw"


def _at_home(places: Places) -> Places:
    """Where it works when it writes its memory: in its workspace, which it does not reach from elsewhere."""
    return Places(places.home, _workspace(places), places.temp)


def _environment(places: Places) -> dict[str, str]:
    return {
        **places.environment,
        "QWENPAW_WORKING_DIR": str(_own(places)),
        "QWENPAW_SECRET_DIR": str(_own(places) / "secret"),
        "QWENPAW_RUNTIME_ID": "codctl",  # otherwise it reads a file .env beside its package
    }


def _model_environment(model: ModelAccess) -> dict[str, str]:
    about = {"max_input_tokens": model.context_window, "max_output_tokens": model.max_tokens}
    return {
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENAI_API_KEY": model.key,
        "OPENAI_MODEL": model.name,
        "QWENPAW_MODEL_INFO_JSON": json.dumps(about),
    }


def _configuration(places: Places, task: Task) -> dict[str, Any]:
    """Its agent.json; what it does not name is as it comes."""
    return {
        "id": "default",
        "name": "Default",
        "workspace_dir": str(_workspace(places)),
        "language": "en",  # its own default is Chinese
        "system_prompt_files": [*_PROMPT_FILES, *([_MEMORY] if task.tools == "memory" else [])],
        "fallback_policy": {"enabled": False},  # to another model
        "running": _running(task),
        **({} if task.tools == "all" else {"tools": {"builtin_tools": _switches(task)}}),
    }


def _running(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        "max_iters": max(1, task.max_turns - 1),  # then it asks once more, and does what the model says
        "llm_retry_enabled": False,  # the proxy has tried
        "auto_title_config": {"enabled": False},
    }
    if task.tools != "all":
        found |= {
            "loop": {"doom_loop": {"enabled": False}},
            "light_context_config": {"strategy": "native"},  # the other one brings tools of its own
            "memory_manager_backend": "none",
        }
    return found


def _switches(task: Task) -> dict[str, Any]:
    kept = _FILES if task.tools == "memory" else ()
    return {name: {"name": name, "enabled": name in kept} for name in (*_TOOLS, *_FILES)}
