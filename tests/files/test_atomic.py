"""A file is written whole or not at all, whatever happens to the disk or the process."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from codctl.errors import PreflightError, StageError
from codctl.files import atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _fails_with(code: int):
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic.write_text(path, "one")
    atomic.write_text(path, "zwei ✓")
    assert path.read_text(encoding="utf-8") == "zwei ✓"
    assert names(tmp_path) == ["a.txt"]


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"x": float("nan"), "y": [float("inf"), 1.5], "t": (1, 2), "hint": "bad \ud800 text"})
    assert json.loads(path.read_text()) == {"x": None, "y": [None, 1.5], "t": [1, 2], "hint": "bad ? text"}


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("write", errno.ENOSPC, "cannot write: the disk is full"),
        ("fsync", errno.ENOSPC, "cannot write: the disk is full"),
        ("fsync", errno.EDQUOT, "cannot write: the disk quota is used up"),
        ("open", errno.EACCES, "cannot write: no permission to write"),
        ("open", errno.EROFS, "cannot write: the disk is read-only"),
    ],
)
def test_refused_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, message: str
) -> None:
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _fails_with(code))
        with pytest.raises(StageError) as caught:
            atomic.write_text(path, "new")
    assert caught.value.message == message
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_interrupt_leaves_no_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
    atomic.write_bytes(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_real_size_limit(tmp_path: Path) -> None:
    """The kernel itself refuses: no mock between the code and the error."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(StageError, match="the file is too big"):
            atomic.write_bytes(tmp_path / "a", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="needs Linux namespaces")
def test_real_full_disk(tmp_path: Path) -> None:
    """A 64 kB tmpfs in a private namespace."""
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from codctl.errors import StageError
        from codctl.files import atomic, seal
        disk = Path(sys.argv[1])
        atomic.write_text(disk / "a", "old")
        try:
            atomic.write_bytes(disk / "a", b"x" * 200_000)
        except StageError as error:
            print(error.message)
        try:
            with seal.sealing(disk / "stage") as temp:
                (temp / "weights").write_bytes(b"x" * 200_000)
        except StageError as error:
            print(error.message)
        print((disk / "a").read_text(), os.listdir(disk))
    """)
    mount = f"mount -t tmpfs -o size=64k none {tmp_path} && exec {sys.executable} -c '{script}' {tmp_path}"
    result = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if result.returncode and "Traceback" not in result.stderr:
        pytest.skip(f"cannot mount here: {result.stderr.strip()}")
    assert result.stdout.splitlines() == [
        "cannot write: the disk is full",
        "cannot write: the disk is full",
        "old ['a']",
    ], result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_real_missing_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StageError, match="no permission to write"):
        atomic.write_text(tmp_path / "a", "x")
    with pytest.raises(PreflightError, match="no permission to write"):
        atomic.make_folder(tmp_path / "runs" / "x")


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(PreflightError, match="part of the path is a file"):
        atomic.make_folder(tmp_path / "runs" / "x")


def test_disk_full_as_a_library_says_it() -> None:
    error = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    explained = atomic.explain(error, Path("model.safetensors"))
    assert explained is not None
    assert explained.message == "cannot write: the disk is full"
    assert atomic.explain(RuntimeError("something else"), Path("x")) is None


def test_remove_leftovers(tmp_path: Path) -> None:
    deep = tmp_path / "stages" / "x"
    atomic.temp_sibling(deep / "final").mkdir(parents=True)
    atomic.temp_sibling(tmp_path / "manifest.json").write_text("half")
    (tmp_path / "kept.json").write_text("{}")
    atomic.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept.json", "stages", "x"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error while serializing: I/O error: File too large (os error 27)"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_what_libraries_say_about_a_full_disk_is_understood(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"cannot write: the (disk|file)"), atomic.storage_errors(tmp_path):
        raise error


def test_a_full_disk_below_another_error_is_understood(tmp_path: Path) -> None:
    found = RuntimeError("unexpected pos 704 vs 598")  # as torch says it
    found.__context__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StageError, match="the disk is full"), atomic.storage_errors(tmp_path / "outer"):
        raise found
    with pytest.raises(RuntimeError, match="something else"), atomic.storage_errors(tmp_path):
        raise RuntimeError("something else")
