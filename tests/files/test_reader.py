"""Files of a run are data: whatever does not fit is one message."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import CodctlError, UsageError
from codctl.files import reader
from codctl.files import records as files

DISPATCH: dict[str, Any] = {"where": "slurm", "jobs": ["12", "13_4"], "code": "0123456789abcdef", "after_attempt": 1}


def read(folder: Path) -> files.Dispatch | None:
    return reader.read(folder / "dispatch.json", files.Dispatch, within=folder, hint="rm dispatch.json")


def test_known_keys_are_given_back_and_others_left_out(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    (tmp_path / "dispatch.json").write_text(json.dumps({**DISPATCH, "run": "rm -rf ~"}))
    assert read(tmp_path) == DISPATCH


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobs": ["--user=root"]}, "jobs.0: it should be a job id such as 12 or 12_3, but it is '--user=root'"),
        ({"jobs": ["12+0"]}, "jobs.0: it should be a job id such as 12 or 12_3, but it is '12+0'"),
        ({"jobs": ["１２"]}, "jobs.0: it should be a job id such as 12 or 12_3, but it is '１２'"),
        ({"jobs": ["12\n"]}, r"jobs.0: it should be a job id such as 12 or 12_3, but it is '12\n'"),
        ({"jobs": "12"}, "jobs: it should be a valid list, but it is '12'"),
        ({"jobs": None}, "jobs: it should be a valid list, but it is None"),
        ({"code": "../../x"}, "code: it should be a digest of 16 hex digits, but it is '../../x'"),
        (
            {"where": "os:system"},
            "where: it should be a name of letters, digits, '.', '_' and '-', but it is 'os:system'",
        ),
        ({"after_attempt": -1}, "after_attempt: it should be greater than or equal to 0, but it is -1"),
        ({"after_attempt": True}, "after_attempt: it should be a valid integer, but it is True"),
        ({"after_attempt": 10**15}, "after_attempt: it should be less than or equal to 999999, but it is 10000000000…"),
        ({"trials": ["../a"]}, "trials.0: it should be a name of letters, digits, '.', '_' and '-', but it is '../a'"),
        ({"submitted": "\ud800"}, "submitted: it should be a valid string, unable to parse raw data as a unicode"),
    ],
)
def test_a_value_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "dispatch.json").write_text(json.dumps({**DISPATCH, **change}))
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert caught.value.message.startswith(f"dispatch.json cannot be used: {message.rstrip('…')}")
    assert (caught.value.where, caught.value.hint) == (str(tmp_path / "dispatch.json"), "rm dispatch.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not JSON (Expecting value, line 1)"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"null", "content: it should be a valid dictionary, but it is None"),
        (b"[]", "content: it should be a valid dictionary, but it is []"),
        (b"{}", "where is missing"),
        (b'{"a":' * 100_000, "it is nested deeper than 40 levels"),
        (b'{"a":' * 50 + b"1" + b"}" * 50, "it is nested deeper than 40 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a number with too many digits"),
        (b'{"a": ' + b"9" * 30 + b"}", "it holds a number with too many digits"),
        (b'{"a": 1e999}', "it holds a number that is not finite"),
        (b'{"a": NaN}', "it holds NaN, which is not JSON"),
        (b" " * (reader.SMALL + 1), "it has 4194305 bytes, at most 4194304 are expected"),
    ],
    ids=str,
)
def test_content_out_of_bounds(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "dispatch.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert caught.value.message.startswith(f"dispatch.json cannot be used: {message}")


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "dispatch.json")


def fifo(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, _outside: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(("make", "message"), [(link, "is a link"), (fifo, "not a regular"), (folder, "not a regular")])
def test_only_a_regular_file_is_read(tmp_path: Path, make: Callable[[Path, Path], None], message: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.mkdir()
    (outside / "dispatch.json").write_text(json.dumps(DISPATCH))
    make(run / "dispatch.json", outside)
    with pytest.raises(CodctlError, match=message):
        read(run)
    assert reader.first_link(run) == (None if make is folder else run / "dispatch.json")


def test_a_file_behind_a_linked_folder_is_not_read_but_a_linked_run_is(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    run.mkdir()
    (outside / "dispatch.json").write_text(json.dumps(DISPATCH))
    (run / "slurm").symlink_to(outside)
    with pytest.raises(UsageError, match="its folder slurm is a link"):
        reader.read(run / "slurm" / "dispatch.json", files.Dispatch, within=run)
    assert list(reader.lines(run / "slurm" / "dispatch.json", within=run)) == []
    (tmp_path / "named").symlink_to(outside)
    assert read(tmp_path / "named") == DISPATCH


@pytest.mark.parametrize(
    "words", [["rm", "-rf", "."], ["codctl", "runs", "clean", "--old", "--yes"], ["codctl", ["x"]]]
)
def test_a_command_that_would_be_proposed_makes_runs_or_results(words: list[Any]) -> None:
    content = {"name": "s", "created": "2026", "axes": {}, "bases": {}, "trials": [], "schema": 1}
    known = ["codctl", "sweep", "tiny", "seed=0,1"]
    assert reader.check({**content, "command": known}, files.Sweep)["command"] == known
    with pytest.raises(reader.UnfitError, match="command"):
        reader.check({**content, "command": words}, files.Sweep)
