"""An agent program that speaks the Agent Client Protocol as QwenPaw does: `python -I -S fake_acp.py HABIT…`.

It calls the tools that its session brings, asks before each, and answers the prompt with what it was told. Habits:
`noisy` (remarks between the messages), `stays` (does not end when its input does), `silent` (never answers the prompt
unless it is cancelled), `dies` (in the middle of the prompt), `refuses` (to make a session), `shell` (wants to run a
command), `odd` (asks for what no client has, and permission without options).
"""

import hashlib
import json
import signal
import subprocess
import sys
import time

HABITS = set(sys.argv[1:])
ids = iter(range(1000))


def say(**message):
    if "noisy" in HABITS:
        print("INFO a remark of the program", flush=True)
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def hear():
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def update(session, **content):
    say(method="session/update", params={"sessionId": session, "update": content})


def may(session, title, options=({"kind": "allow_once", "optionId": "yes"}, {"kind": "reject_once", "optionId": "no"})):
    number = next(ids)
    call = {"toolCallId": "x", "title": title, "kind": "other"}
    params = {"sessionId": session, "toolCall": call, "options": [*options]}
    say(id=number, method="session/request_permission", params=params)
    answer = hear()
    assert answer["id"] == number
    return answer["result"]["outcome"] == {"outcome": "selected", "optionId": "yes"}


def call_tool(session, server, process, name, arguments):
    update(session, sessionUpdate="tool_call", title=f"{server['name']}__{name}", toolCallId="x", rawInput=arguments)
    digest = hashlib.sha256(f"{session}\0{server['name']}".encode()).hexdigest()[:20]
    if not may(session, f"driver:mcp:acp_{digest} requires approval (medium)"):
        return "denied"
    process.stdin.write(json.dumps({"id": 1, "method": name, **arguments}) + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def prompt(session, servers, text):
    told = [text]
    for server in servers:
        process = subprocess.Popen([server["command"], *server["args"]], stdin=-1, stdout=-1, text=True)
        told += [
            call_tool(session, server, process, "observe", {}),
            call_tool(session, server, process, "act", {"text": "K"}),
        ]
        process.communicate()
    if "shell" in HABITS:
        told.append(f"shell {may(session, 'execute_shell_command requires approval (high)')}")
    if "odd" in HABITS:
        say(id=77, method="fs/read_text_file", params={"path": "/etc/passwd"})
        told.append(str(hear()["error"]["code"]))
        told.append(f"odd {may(session, 'world__act', ())}")
    if "dies" in HABITS:
        sys.exit(9)
    if "silent" in HABITS:
        cancelled = hear()
        assert cancelled["method"] == "session/cancel"
        return "cancelled"
    update(session, sessionUpdate="agent_message_chunk", content={"type": "text", "text": " / ".join(told)})
    return "end_turn"


servers = []
while message := hear():
    number, params = message["id"], message["params"]
    if message["method"] == "initialize":
        say(id=number, result={"protocolVersion": params["protocolVersion"], "agentCapabilities": {}})
    elif message["method"] == "session/new":
        servers = params["mcpServers"]
        if "refuses" in HABITS:
            say(id=number, error={"code": -32603, "message": "no session today"})
        else:
            say(id=number, result={"sessionId": "s1"})
    else:
        say(id=number, result={"stopReason": prompt(params["sessionId"], servers, params["prompt"][0]["text"])})
if "stays" in HABITS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
