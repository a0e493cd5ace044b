"""The agent programs that `make test-agents` names, from where it has installed them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.agents.finding import variable
from codctl.agents.program import PROGRAMS, AgentProgram
from tests.agents.real.install import executable

NAMES = os.environ.get("CODCTL_TEST_AGENTS", "claude-code hermes").split()
FOLDER = Path(os.environ.get("CODCTL_TEST_AGENTS_FOLDER", ".venv-agents")).absolute()
OWN = "PERSONAL"  # stands in every file of the user's own


def named(*names: str) -> list[str]:
    """Those of these programs that shall be tested."""
    return [name for name in NAMES if name in names]


def installed(name: str, patch: pytest.MonkeyPatch) -> AgentProgram:
    """A program, or a failure that says what to type."""
    program = PROGRAMS.get(name)
    if not os.environ.get(variable(program)):
        patch.setenv(variable(program), str(executable(FOLDER, name)))
    program.executable()
    return program


@pytest.fixture(params=NAMES)
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return installed(request.param, monkeypatch)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's home, full of notes and settings for all programs, which no session may read or change."""
    home = tmp_path / "a-user"
    files = {
        ".claude/CLAUDE.md": f"{OWN} rules",
        ".claude/settings.json": f'{{"env": {{"{OWN}": "1"}}, "model": "{OWN}"}}',
        ".claude.json": f'{{"mcpServers": {{"{OWN}": {{"type": "stdio", "command": "false"}}}}}}',
        ".hermes/config.yaml": f"model: {{default: {OWN}}}\n",
        ".hermes/.env": f"OPENAI_API_KEY={OWN}\n",
        ".hermes/SOUL.md": f"{OWN} soul",
        ".hermes/memories/MEMORY.md": f"{OWN} memory",
        ".openclaw/openclaw.json": f'{{"agents": {{"defaults": {{"model": {{"primary": "{OWN}"}}}}}}}}',
        ".openclaw/workspace/MEMORY.md": f"{OWN} memory",
        ".qwenpaw/workspaces/default/MEMORY.md": f"{OWN} memory",
        ".copaw/MEMORY.md": f"{OWN} memory",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_MODEL", "HERMES_INFERENCE_MODEL", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, OWN)
    for name, folder in (
        ("CLAUDE_CONFIG_DIR", ".claude"),
        ("HERMES_HOME", ".hermes"),
        ("QWENPAW_WORKING_DIR", ".qwenpaw"),
    ):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("HOME", str(home))
    before = {path: path.stat().st_mtime_ns for path in sorted(home.rglob("*"))}
    yield home
    assert {path: path.stat().st_mtime_ns for path in sorted(home.rglob("*"))} == before
