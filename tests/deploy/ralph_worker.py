"""A program that writes what its model tells it to: as an agent program of codctl, and as the program itself."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

TOOL = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}


def work(url: str, prompt: str) -> None:
    """Ask the model, write what it calls for, and tell it what came of that."""
    memory = Path("AGENTS.md")
    messages = [
        {"role": "system", "content": memory.read_text() if memory.exists() else "no memory"},
        {"role": "user", "content": prompt},
    ]
    while calls := (reply := ask(url, messages)).get("tool_calls"):
        messages.append(reply)
        for call in calls:
            given = json.loads(call["function"]["arguments"])
            with Path(given["path"]).open("a") as file:
                file.write(given["text"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": "written"})
    print(reply["content"])


def ask(url, messages):
    body = json.dumps({"model": "m", "messages": messages, "tools": [TOOL]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["choices"][0]["message"]


if __name__ == "__main__":
    work(*sys.argv[1:])
else:
    from codctl.agents.memory import kept_text, put_hints
    from codctl.agents.program import AgentProgram, Finished, Launch, ModelAccess, Outcome, Places, Task

    class Worker(AgentProgram):
        name, title, tried, install, memory = "worker", "Worker", "1.0", "nothing", "agents-md"

        def executable(self) -> Path:
            return Path(__file__)

        def version(self) -> str:
            return self.tried

        def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
            put_hints(self, places, task)
            argv = (sys.executable, "-I", "-S", __file__, model.url, task.prompt)
            return Launch(argv, {"HOME": str(places.home), "PATH": os.environ["PATH"]}, places.work)

        def outcome(self, places: Places, finished: Finished) -> Outcome:
            text, problem = finished.stdout.read_text(), finished.stderr.read_text()
            return Outcome("crashed" if finished.exit_code else "ended", text, problem[-200:])

        def kept(self, places: Places) -> str:
            return kept_text(self, places)

    class Silent(Worker):
        """Never asks its model."""

        def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
            argv = (sys.executable, "-c", "raise SystemExit('no licence')")
            return Launch(argv, {"PATH": os.environ["PATH"]}, places.work)
