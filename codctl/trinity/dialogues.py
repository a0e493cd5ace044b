"""Learn2Ask in a configuration: dialogues of the user's own and a judge, as the variant `paper` of the family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.errors import UsageError
from codctl.trinity.data import find_file, read_data
from codctl.trinity.fates import Ledger
from codctl.trinity.worlds import World

WORKFLOW = "cod_learn2ask_workflow"
_FAMILY = "learn2ask"
_PRESET = "tiny"  # presets are of the other variants: dialogues are as hard as they are
_JUDGES = "explorer.auxiliary_models"
_URL = "http://localhost:8000/v1"
_TRAIN_MODES, _FUSION_MODES = ("Ra+Rs", "Ra", "Rs"), ("default", "sum")


def find_dialogues(ledger: Ledger, at: str, split: str) -> World | None:
    """The world of a task set of Learn2Ask, or nothing, with the problems in the ledger.

    Args:
        ledger: Of the configuration.
        at: Key of the task set.
        split: Which file of its folder.
    """
    ledger.decide(f"{at}.default_workflow_type", "used", "the family learn2ask, variant paper")
    for name in ("prompt_key", "response_key"):
        ledger.decide(f"{at}.format.{name}", "no counterpart", "the columns are those of the published preparation")
    data, judge, fusion = _data(ledger, at, split), _judge(ledger), _fusion(ledger, at)
    name = str(ledger.use(f"{at}.name", "the family's name", _FAMILY))
    if data is None or judge is None or fusion is None:
        return None
    path, rows = data
    return World(_FAMILY, _PRESET, "paper", rows, name, {"data": str(path), "fusion": fusion, "judge": judge})


def _data(ledger: Ledger, at: str, split: str) -> tuple[Path, int] | None:
    """The file and how many rows it has."""
    key = f"{at}.path"
    path = find_file(Path(str(ledger.get(key, ""))), split)
    if path is None:
        ledger.refuse(key, f"there is no {split}.jsonl: the dialogues are your own, and their number is needed here")
    elif path.suffix != ".jsonl":
        ledger.refuse(key, f"codctl reads dialogues from JSON lines, not from {path.name}")
    else:
        try:
            data = read_data(path, split)
        except UsageError as error:
            ledger.refuse(key, f"{error.where}: {error.message}")
            return None
        if data.family == _FAMILY:
            ledger.decide(key, "used", "world.options.data; codctl holds out sessions of this file for test packs")
            return path, len(data.rows)
        ledger.refuse(key, f"the rows of {path.name} are no dialogues")
    return None


def _judge(ledger: Ledger) -> dict[str, Any] | None:
    listed = ledger.get(_JUDGES, [])
    if ledger.get("algorithm.algorithm_type") == "on_policy_distill":
        ledger.refuse("algorithm.algorithm_type", "with Learn2Ask the auxiliary model is a judge, and no teacher")
    elif not isinstance(listed, list) or len(listed) != 1:
        ledger.refuse(_JUDGES, "expected one model: the judge of Learn2Ask")
    else:
        told = f"judge.model; serve it, and set judge.url where it is not {_URL}"
        return {"kind": "endpoint", "url": _URL, "model": str(ledger.use(f"{_JUDGES}.0.model_path", told, ""))}
    return None


def _fusion(ledger: Ledger, at: str) -> str | None:
    args = f"{at}.workflow_args"
    mode = str(ledger.use(f"{args}.train_mode", "world.options.fusion", _TRAIN_MODES[0]))
    fusion = str(ledger.use(f"{args}.fusion_mode", "world.options.fusion", _FUSION_MODES[0]))
    for key, value, known in (("train_mode", mode, _TRAIN_MODES), ("fusion_mode", fusion, _FUSION_MODES)):
        if value not in known:
            ledger.refuse(f"{args}.{key}", f"expected one of {', '.join(known)}, got {value!r}")
            return None
    return "sum" if (mode, fusion) == ("Ra+Rs", "sum") else mode
