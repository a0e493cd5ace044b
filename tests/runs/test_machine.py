"""What a process may use of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.runs import machine

GIB = 1 << 30


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("0::/jobs/7\n", {"jobs/7/memory.max": "max", "jobs/memory.max": str(GIB)}, GIB),
        ("0::/jobs/7\n", {"memory.max": str(GIB)}, GIB),  # a container, whose own group is the root here
        ("4:cpu,memory:/7\n1:name=systemd:/\n", {"memory/7/memory.limit_in_bytes": str(GIB)}, GIB),
        ("0::/jobs/7\n", {"jobs/7/memory.max": str(1 << 62)}, 0),
        ("", {}, 0),
    ],
)
def test_memory_is_bounded_by_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, limits: dict[str, str], expected: int
) -> None:
    whole = machine.memory_bytes()
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    for name, text in {"proc/self/cgroup": group, **{f"groups/{key}": text for key, text in limits.items()}}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = machine.memory_bytes()
    assert found == expected if expected else found >= whole
