"""What it costs to play inside agent programs: `python experiments/agents/cost.py RUN FOLDER [AGENT …]`.

Plays the same packs with codctl's own loop, inside each agent with the world's tools only, and inside it with all its
own tools, by `codctl eval`, one session at a time and in turns, so that a machine that grows busy is not blamed on one
of them. Writes FOLDER/cost.jsonl, a line for each evaluation, and prints the table of README.md; what is measured there
already is not measured again. RUN is a run in CODCTL_RUNS_DIR, or `policy:bayes`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

ALL = ("claude-code", "hermes", "openclaw", "qwenpaw")
SEEDS = (0, 1, 2)
LOOP = ("", "none")


@dataclass(frozen=True)
class Measured:
    """One evaluation.

    Attributes:
        subject: Run or policy.
        agent: Empty for codctl's own loop.
        version: Of the agent.
        tools: Its own tools: `none` or `all`.
        seed: Of the sampling.
        cpu_s: Processor seconds of codctl and all that it started, together.
        load: Processes that wanted a core while it ran, on average: others' included.
        tasks: What each task took, from the rows of the evaluation.
        first_chars: Characters of the first request in each session.
        tool_names: Tools that the first request offers.
    """

    subject: str
    agent: str
    version: str
    tools: str
    seed: int
    cpu_s: float
    load: float
    tasks: list[dict[str, Any]]
    first_chars: list[int] = field(default_factory=list)
    tool_names: int = 0


def measure(subject: str, agent: str, tools: str, seed: int) -> Measured:
    kind, _, name = subject.rpartition(":")
    command = [
        "codctl",
        "eval",
        f"--{kind or 'run'}",
        name,
        "packs=1",
        "arms=[own]",
        f"seeds=[{seed}]",
        "--json",
        "--fresh",
    ]
    command += ["preset=tiny", "rendering=compact"] if kind else []
    command += ["--agent", agent, "--agent-tools", tools, "--concurrency", "1"] if agent else []
    before = os.times()
    load = [os.getloadavg()[0]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    after = os.times()
    load.append(os.getloadavg()[0])
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}")
    folder = Path(json.loads(done.stdout)["result"]["folder"])
    rows = parquet.read_table(folder / "rows.parquet").to_pylist()
    keys = ("position", "success", "turns", "outcome", "failed", "agent_ended", "model_calls", "wall_s", "peak_mb")
    keys += ("agent_context", "agent_version")
    tasks = [{key: row.get(key) for key in keys} for row in rows if row["arm"] == "own"]
    requests = [first_request(folder / row["agent_session"]) for row in rows if row["arm"] == "own" and agent]
    return Measured(
        subject,
        agent,
        str(tasks[0]["agent_version"] or ""),
        tools,
        seed,
        round(after.children_user + after.children_system - before.children_user - before.children_system, 2),
        round(statistics.mean(load), 1),
        tasks,
        [len(json.dumps(request, ensure_ascii=False)) for request in requests],
        max((len(request["tools"]) for request in requests), default=0),
    )


def first_request(session: Path) -> dict[str, Any]:
    with (session / "exchanges.jsonl").open() as lines:
        request = json.loads(next(lines))["request"]
    return {key: request[key] for key in ("messages", "tools")}


def wanted(agents: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    for seed in SEEDS:
        yield *LOOP, seed
        for agent in agents:
            for tools in ("none", "all"):
                yield agent, tools, seed


def read(path: Path) -> list[Measured]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Measured(**json.loads(line)) for line in lines]


def spread(values: Sequence[float], form: str) -> str:
    """The median, and from the least to the most where there are several."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def table(found: Sequence[Measured], subject: str) -> str:
    mine = [one for one in found if one.subject == subject]
    loop = {one.seed: one for one in mine if not one.agent}
    lines = [
        "| played by | solved | turns | same as the loop | CPU s a task | seconds a task | memory, MB |"
        " calls of the model a task | tools | first request, kB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for agent, tools in dict.fromkeys((one.agent, one.tools) for one in mine):
        runs = [one for one in mine if (one.agent, one.tools) == (agent, tools)]
        tasks = [task for one in runs for task in one.tasks]
        solved = f"{sum(task['success'] for task in tasks):.0f} of {len(tasks)}"
        turns = f"{sum(task['turns'] for task in tasks)}"
        if not agent:
            lines.append(f"| codctl's own loop | {solved} | {turns} | | | | | | | |")
            continue
        pairs = [pair for one in runs if one.seed in loop for pair in zip(one.tasks, loop[one.seed].tasks, strict=True)]
        same = sum(all(mine[key] == its[key] for key in ("success", "turns", "outcome")) for mine, its in pairs)
        cpu = [(one.cpu_s - loop[one.seed].cpu_s) / len(one.tasks) for one in runs if one.seed in loop]
        cells = [
            f"{agent} {runs[0].version}, {'the world’s tools' if tools == 'none' else 'as it comes'}",
            solved,
            turns,
            f"{same} of {len(pairs)}",
            spread(cpu, ".1f"),
            spread([task["wall_s"] for task in tasks], ".1f"),
            spread([task["peak_mb"] for task in tasks], ".0f"),
            spread([task["model_calls"] for task in tasks], "g"),
            f"{runs[0].tool_names}",
            spread([chars / 1000 for one in runs for chars in one.first_chars], ".1f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subject")
    parser.add_argument("folder", type=Path)
    parser.add_argument("agents", nargs="*", default=ALL)
    asked = parser.parse_args()
    path = asked.folder / "cost.jsonl"
    asked.folder.mkdir(parents=True, exist_ok=True)
    for agent, tools, seed in wanted(asked.agents):
        done = {(one.subject, one.agent, one.tools, one.seed) for one in read(path)}
        if (asked.subject, agent, tools, seed) in done:
            continue
        print(f"{agent or 'own loop'}, tools {tools}, seed {seed}", file=sys.stderr)
        with path.open("a") as file:
            file.write(json.dumps(asdict(measure(asked.subject, agent, tools, seed))) + "\n")
    print(table(read(path), asked.subject))


if __name__ == "__main__":
    main()
