"""Only whole folders count; everything else is passed over with a reason."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from codctl.errors import StageError
from codctl.files import seal


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _checkpoint(parent: Path, step: int) -> Path:
    path = parent / f"step-{step:06d}"
    with seal.sealing(path, {"step": step}) as temp:
        (temp / "model.safetensors").write_bytes(bytes(range(256)) * 4)
        (temp / "sub").mkdir()
        (temp / "sub" / "optimizer.pt").write_bytes(b"state" * 10)
    return path


def test_sealed_folder_round_trip(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path, 10)
    assert seal.is_sealed(path, verify=True)
    assert seal.why_not_sealed(path) == ""
    assert seal.read_info(path) == {"step": 10}
    assert names(tmp_path) == ["step-000010"]
    listed = json.loads((path / "COMPLETE.json").read_text())["files"]
    assert [(entry["path"], entry["size"]) for entry in listed] == [
        ("model.safetensors", 1024),
        ("sub/optimizer.pt", 50),
    ]


def test_sealing_replaces(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path, 10)
    with seal.sealing(path) as temp:
        (temp / "new").write_text("x")
    assert names(path) == ["COMPLETE.json", "new"]
    assert names(tmp_path) == ["step-000010"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_exception_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    def write_half() -> None:
        with seal.sealing(tmp_path / "final") as temp:
            (temp / "half").write_text("x")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert names(tmp_path) == []


def test_disk_full_inside_and_while_sealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StageError, match="the disk is full"), seal.sealing(tmp_path / "final"):
        raise full

    def fail(_descriptor: int) -> None:
        raise full

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StageError, match="the disk is full") as caught, seal.sealing(tmp_path / "final") as temp:
        (temp / "half").write_text("x")
    assert caught.value.where == str(tmp_path / "final")
    assert names(tmp_path) == []


def _cut(path: Path) -> None:
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(12)


def _flip(path: Path) -> None:
    with (path / "model.safetensors").open("r+b") as file:
        file.seek(500)
        file.write(b"\xff")


def _flip_in_list(path: Path) -> None:
    text = (path / "COMPLETE.json").read_text()
    (path / "COMPLETE.json").write_text(text.replace('"step": 20', '"step": 30'))


DAMAGE = [
    (_cut, "model.safetensors: 12 bytes, expected 1024"),
    (_flip, "model.safetensors: content differs from what was sealed"),
    (lambda path: (path / "sub" / "optimizer.pt").unlink(), "sub/optimizer.pt: missing"),
    (lambda path: (path / "COMPLETE.json").unlink(), "missing COMPLETE.json"),
    (lambda path: (path / "COMPLETE.json").write_text('{"files": ['), "COMPLETE.json cannot be read"),
    (lambda path: (path / "COMPLETE.json").write_text("[]"), "COMPLETE.json cannot be read"),
    (_flip_in_list, "COMPLETE.json cannot be read: its own hash does not match"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_damaged_checkpoint_falls_back_and_says_why(tmp_path: Path, damage, reason: str) -> None:
    older = _checkpoint(tmp_path, 10)
    damage(_checkpoint(tmp_path, 20))
    found, skipped = seal.newest_sealed(tmp_path)
    assert found == older
    assert len(skipped) == 1
    assert skipped[0].startswith(f"step-000020: {reason}")


def test_newest_sealed_with_none(tmp_path: Path) -> None:
    assert seal.newest_sealed(tmp_path / "missing") == (None, [])
    (tmp_path / "step-000001").mkdir()
    assert seal.newest_sealed(tmp_path) == (None, ["step-000001: missing COMPLETE.json"])


def test_quick_look_notices_sizes_but_not_content(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path, 10)
    _flip(path)
    assert seal.is_sealed(path)
    assert not seal.is_sealed(path, verify=True)
    _cut(path)
    assert not seal.is_sealed(path)
    with pytest.raises(StageError, match="12 bytes, expected 1024"):
        seal.read_info(path)


@pytest.mark.parametrize("moment", ["inside", "sealing", "renaming"])
def test_kill_9_while_sealing(tmp_path: Path, moment: str) -> None:
    """The process dies at a chosen point; the older checkpoint is found and the next sealing works."""
    older = _checkpoint(tmp_path, 10)
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from codctl.files import atomic, seal
        parent, moment = Path(sys.argv[1]), sys.argv[2]

        def hang(*_, **__):
            print("here", flush=True)
            time.sleep(60)

        if moment == "sealing":
            atomic.write_json = hang
        if moment == "renaming":
            seal._move_into_place = hang
        with seal.sealing(parent / "step-000020") as temp:
            (temp / "model.safetensors").write_bytes(b"x" * 1024)
            if moment == "inside":
                hang()
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), moment], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "here\n"
        child.send_signal(signal.SIGKILL)
    assert seal.newest_sealed(tmp_path) == (older, [])
    assert len(list(tmp_path.glob(".step-000020.tmp-*"))) == 1
    newer = _checkpoint(tmp_path, 20)
    assert seal.newest_sealed(tmp_path) == (newer, [])
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_modes_of_sealed_files_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"of another run")
    foreign.chmod(0o400)
    before = os.umask(umask)
    try:
        with seal.sealing(tmp_path / "model") as temp:
            (temp / "sub").mkdir()
            (temp / "sub" / "model.safetensors").touch(0o600)  # as safetensors writes it
            (temp / "linked").hardlink_to(foreign)
            (temp / "link").symlink_to(foreign)
    finally:
        os.umask(before)
    modes = [(tmp_path / "model" / name).stat().st_mode & 0o777 for name in ("sub/model.safetensors", seal.COMPLETE)]
    assert modes == [mode, mode]
    assert foreign.stat().st_mode & 0o777 == 0o400
