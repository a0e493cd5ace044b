"""Logs of Trinity-RFT: rewards by position and what became of hints, for each step and task set.

A pack has a folder `{rollout|eval_TASKSET}_step_{N}_task_{…}_runidbase_{…}` with `0_iterative_hint_e2e.json`, which has
the model calls in the order of play, each with its reward.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from codctl.errors import UsageError

FILE = "0_iterative_hint_e2e.json"
_FOLDER = re.compile(r"(?P<of>rollout|eval_.+?)_step_(?P<step>\d+)_task_.+")
_MOST_BYTES = 256 << 20
_MOST_POSITIONS = 64


@dataclass(frozen=True)
class LoggedPack:
    """One rollout of a pack.

    Attributes:
        rewards: Of each task, as it was learned from: shaped.
        turns: Model calls of each task.
        updates: Reward of each update: below 0 where it could not be read.
        hint_chars: Length of the hints after each update.
    """

    rewards: Sequence[float]
    turns: Sequence[int]
    updates: Sequence[float]
    hint_chars: Sequence[int]


@dataclass
class LoggedStep:
    """All packs of one step and task set.

    Attributes:
        of: `rollout`, or the name of the evaluated task set.
        step: As Trinity-RFT counts.
        packs: In no order.
    """

    of: str
    step: int
    packs: list[LoggedPack] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For tables and `--json`: means over packs, by position, with standard errors."""
        length = max((len(pack.rewards) for pack in self.packs), default=0)
        columns = [[pack.rewards[i] for pack in self.packs if len(pack.rewards) > i] for i in range(length)]
        turns = [[pack.turns[i] for pack in self.packs if len(pack.turns) > i] for i in range(length)]
        updates = [reward for pack in self.packs for reward in pack.updates]
        chars = [count for pack in self.packs for count in pack.hint_chars]
        return {
            "of": self.of,
            "step": self.step,
            "packs": len(self.packs),
            "reward": [fmean(column) for column in columns],
            "standard_error": [stdev(c) / math.sqrt(len(c)) if len(c) > 1 else None for c in columns],
            "turns": [fmean(column) for column in turns],
            "malformed_updates": sum(reward < 0 for reward in updates) / len(updates) if updates else None,
            "hint_chars": fmean(chars) if chars else None,
        }


def read_logs(folder: Path) -> list[LoggedStep]:
    """Everything below a folder of logs, by task set and step.

    Raises:
        UsageError: There are none, or one cannot be read.
    """
    found: dict[tuple[str, int], LoggedStep] = {}
    for path in sorted(folder.rglob(FILE)) if folder.is_dir() else ():
        name = _FOLDER.fullmatch(path.parent.name)
        if name is None:
            continue
        key = (name["of"].removeprefix("eval_"), int(name["step"]))
        found.setdefault(key, LoggedStep(*key)).packs.extend(_packs(path))
    if not found:
        raise UsageError(
            f"there is no {FILE} in a folder of a step below it",
            where=str(folder),
            hint="give the folder that cod.cod_workflow_args.log_dir names",
        )
    return [found[key] for key in sorted(found)]


def _packs(path: Path) -> Iterator[LoggedPack]:
    for part in _content(path).values():
        steps = part.get("steps") if isinstance(part, Mapping) else None
        runs: dict[str, list[Mapping[str, Any]]] = {}
        for step in steps if isinstance(steps, list) else ():
            if not isinstance(step, Mapping) or step.get("exp_type") not in ("solve_task", "gen_hint"):
                raise UsageError("a step has no exp_type solve_task or gen_hint", where=str(path))
            runs.setdefault(str(step.get("step_key", "")).rpartition("_step_")[0], []).append(step)
        hints = part.get("hints") if isinstance(part, Mapping) else None
        yield from (_pack(run, hints if isinstance(hints, list) else [], path) for run in runs.values())


def _pack(steps: Sequence[Mapping[str, Any]], hints: Sequence[Any], path: Path) -> LoggedPack:
    rewards, turns, updates, chars = [math.nan], [0], [], []
    for step in steps:
        reward = step.get("reward")
        if isinstance(reward, bool) or not isinstance(reward, int | float):
            raise UsageError(f"a step has the reward {reward!r:.40}", where=str(path))
        if step["exp_type"] == "solve_task":
            rewards[-1], turns[-1] = float(reward), turns[-1] + 1
            continue
        updates.append(float(reward))
        index = step.get("hint_idx")
        text = hints[index] if isinstance(index, int) and 0 <= index < len(hints) else ""
        chars.append(len(str(text)))
        rewards.append(math.nan)
        turns.append(0)
        if len(rewards) > _MOST_POSITIONS:
            raise UsageError(f"a pack has more than {_MOST_POSITIONS} tasks", where=str(path))
    played = [place for place, count in enumerate(turns) if count]
    return LoggedPack([rewards[i] for i in played], [turns[i] for i in played], updates, chars)


def _content(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("expected a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"it cannot be read: {' '.join(str(error).split())[:200]}", where=str(path)) from None
    return found
