"""A program that is configured as Hermes is, asks its model once with what its memory holds, and prints the reply."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

home = Path(os.environ["HERMES_HOME"])
if sys.argv[1:] == ["--version"]:
    print("Hermes Agent v9.9.9")
    raise SystemExit
config = json.loads((home / "config.yaml").read_text())["model"]
memory = home / "memories" / "MEMORY.md"
tools = [{"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}]
messages = [
    {"role": "system", "content": memory.read_text() if memory.exists() else "no memory"},
    {"role": "user", "content": " ".join(sys.argv[1:])},
]
body = {"model": config["default"], "messages": messages, "tools": tools}
request = urllib.request.Request(
    f"{config['base_url']}/chat/completions",
    json.dumps(body).encode(),
    {"content-type": "application/json", "authorization": f"Bearer {config['api_key']}"},
)
with urllib.request.urlopen(request, timeout=60) as answer:
    print(json.load(answer)["choices"][0]["message"]["content"])
print(json.dumps({"cwd": str(Path.cwd()), "env": sorted(os.environ)}))
