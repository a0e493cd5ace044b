"""Dialogues of the variant `paper`, from the user's own file: one JSON object a line, checked before any work.

The columns are those of the published preparation: `cid`, `session_id`, `diagn`, `messages` (the chat so far, up to a
turn of the patient), `decision_truth` (`continue` or `stop`) and `info_truth` (what the doctor went on to ask, joined
by commas). Splits are disjoint in sessions or, with `held_out: diagnosis`, test packs in diagnoses, as published:
shuffled diagnoses until they have a fifth of the rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from codctl.errors import PreflightError, Problem
from codctl.quantities import counted
from codctl.seeds import derive_seed

Decision = Literal["continue", "stop"]
ROLES = {"user": "user", "patient": "user", "assistant": "assistant", "doctor": "assistant"}
_MOST_BYTES = 1 << 30
_MOST_LINE = 1 << 20
_SHOWN = 5
_COMMAS = re.compile(r"[,，、;；\n]")
_HELD_OUT = 0.2
_DIAGNOSES_SEED = 42
_TENTHS = {"validation": (8,), "test": (9,)}


@dataclass(frozen=True)
class Row:
    """A dialogue up to the doctor's next turn, and what the doctor did.

    Attributes:
        id: `cid`.
        session: `session_id`.
        diagnosis: `diagn`.
        chat: Role (`user` is the patient) and text of each turn; neighbours of one role are one turn.
        decision: What the doctor did.
        facts: What the doctor went on to ask; empty where the doctor stopped.
    """

    id: str
    session: str
    diagnosis: str
    chat: tuple[tuple[str, str], ...]
    decision: Decision
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Dialogues:
    """The rows of a file.

    Attributes:
        rows: In the order of the file.
        sha256: Of the file.
    """

    rows: tuple[Row, ...]
    sha256: str

    def split(self, split: str, held_out: str) -> tuple[Row, ...]:
        """The rows of one split. Demonstrations are shown on those of `train`."""
        wanted = "train" if split == "demonstration" else split
        groups = _diagnoses_of_test(self.rows) if held_out == "diagnosis" else frozenset()
        return tuple(row for row in self.rows if _split_of(row, held_out, groups) == wanted)


def _split_of(row: Row, held_out: str, test: frozenset[str]) -> str:
    if held_out == "diagnosis" and row.diagnosis in test:
        return "test"
    tenth = derive_seed("learn2ask", row.session) % 10
    for split, tenths in _TENTHS.items():
        if tenth in tenths and not (held_out == "diagnosis" and split == "test"):
            return split
    return "train"


def _diagnoses_of_test(rows: Sequence[Row]) -> frozenset[str]:
    diagnoses = sorted({row.diagnosis for row in rows})
    Random(_DIAGNOSES_SEED).shuffle(diagnoses)
    chosen: list[str] = []
    for diagnosis in diagnoses:
        if sum(row.diagnosis in chosen for row in rows) >= _HELD_OUT * len(rows):
            break
        chosen.append(diagnosis)
    return frozenset(chosen)


def read_dialogues(path: Path, sha256: str | None = None) -> Dialogues:
    """Read and check a file.

    Raises:
        PreflightError: It cannot be read, is another one than `sha256` says, or has lines that do not fit.
    """
    where = str(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            said = f"the file has more than {_MOST_BYTES >> 30} GiB"
            raise PreflightError(said, where=where, hint="use a part of it")
        content = path.read_bytes()
    except OSError as error:
        said, hint = f"the dialogues cannot be read: {error.strerror or error}", "options.data names a JSONL file"
        raise PreflightError(said, where=where, hint=hint) from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 and sha256 != found:
        raise PreflightError(
            f"the file has another content than options.sha256 says: {found}", where=where, hint="put the old one back"
        )
    rows, problems = _rows(content.split(b"\n"), where)
    if problems:
        more = [Problem(f"and {len(problems) - _SHOWN} more")] if len(problems) > _SHOWN else []
        shown = (*problems[:_SHOWN], *more)
        raise PreflightError(
            f"{counted(len(problems), 'line')} cannot be used", where=where, problems=shown, hint=_FORM
        )
    if not rows:
        raise PreflightError("the file has no dialogues", where=where, hint=_FORM)
    return Dialogues(tuple(rows), found)


_FORM = (
    '{"cid": "1-2", "session_id": "1", "diagn": "…", "messages": [{"role": "user", "content": "…"}], '
    '"decision_truth": "continue", "info_truth": "…, …"}'
)


def _rows(lines: Iterable[bytes], where: str) -> tuple[list[Row], list[Problem]]:
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(_row(line))
            except (ValueError, RecursionError) as error:
                problems.append(Problem(str(error), f"{where}:{number}"))
    return rows, problems


def _row(line: bytes) -> Row:
    """One line as a row.

    Raises:
        ValueError: What is wrong with it.
    """
    if len(line) > _MOST_LINE:
        raise ValueError("the line is longer than 1 MiB")
    try:
        found = json.loads(line)
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    decision = found.get("decision_truth")
    if decision not in ("continue", "stop"):
        raise ValueError(f"decision_truth must be continue or stop, got {_shown(decision)}")
    facts = _facts(found.get("info_truth")) if decision == "continue" else ()
    if decision == "continue" and not facts:
        raise ValueError("decision_truth is continue, and info_truth names nothing to ask for")
    texts = [_text(found, key) for key in ("cid", "session_id", "diagn")]
    return Row(texts[0], texts[1], texts[2], _chat(found.get("messages")), decision, facts)


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{key} must be a text or a number, got {_shown(value)}")
    return str(value)


def _facts(value: Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else _COMMAS.split(value) if isinstance(value, str) else None
    if parts is None or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"info_truth must be a text, got {_shown(value)}")
    return tuple(part.strip() for part in parts if part.strip())


def _chat(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("messages must be a list of turns with role and content")
    turns: list[tuple[str, str]] = []
    for turn in value:
        role = ROLES.get(str(turn.get("role"))) if isinstance(turn, dict) else None
        content = turn.get("content") if isinstance(turn, dict) else None
        if role is None or not isinstance(content, str) or not content.strip():
            raise ValueError(f"messages: a turn has the role user or assistant and a text, got {_shown(turn)}")
        whole = content.encode(errors="replace").decode().strip()  # half a surrogate pair is in no text to be sent
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]}\n{whole}")
        else:
            turns.append((role, whole))
    if turns[-1][0] != "user":
        raise ValueError("messages must end with a turn of the patient (role user)")
    return tuple(turns)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:60]}…"
