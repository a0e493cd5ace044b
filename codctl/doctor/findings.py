"""What doctor reports: one line for each thing that it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `failed` means that training cannot work; `command` is what to type next."""

    name: str
    status: Status
    message: str
    command: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
