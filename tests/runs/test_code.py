"""A copy of the package is run only when it is what its name says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.errors import RefusedError, UsageError
from codctl.files import atomic, seal
from codctl.jobs import launch
from codctl.runs import code, place
from codctl.runs.directory import RunDirectory
from tests.jobs.many_trials import make_run

STRANGER = "0123456789abcdef"


def a_stranger(runs_dir: Path, digest: str = STRANGER) -> Path:
    """What somebody who wants code to be run would put beside a run: whole, and sealed."""
    folder = runs_dir / ".code" / digest
    shutil.rmtree(folder, ignore_errors=True)
    with seal.sealing(folder) as temp:
        (temp / "codctl").mkdir()
        (temp / "codctl" / "__init__.py").write_text("raise SystemExit('ran')")
    return folder


def a_module_beside(found: code.Snapshot) -> None:
    (found.path / "json.py").write_text("raise SystemExit('ran')")


def another_file(found: code.Snapshot) -> None:
    (found.path / "codctl" / "json.py").write_text("raise SystemExit('ran')")


def a_link(found: code.Snapshot) -> None:
    (found.path / "codctl" / "errors.py").unlink()
    (found.path / "codctl" / "errors.py").symlink_to("/etc/hostname")


def a_list_that_leads_out(found: code.Snapshot) -> None:
    body = {"schema": 1, "info": {}, "files": [{"path": "../../x", "size": 1, "sha256": "0" * 64}]}
    atomic.write_json(found.path / seal.COMPLETE, {**body, "sha256": seal._digest(body)})


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda found: a_stranger(found.path.parents[1], found.digest), "its files are not those that its name stands"),
        (a_module_beside, "it holds more than the package: json.py"),
        (another_file, "its files are not those that its name stands for"),
        (a_link, "codctl/errors.py: it is a link, and links in a run are not followed"),
        (a_list_that_leads_out, "files.0.path: it should be a path inside its folder, but it is '../../x'"),
    ],
)
def test_a_copy_that_is_not_the_package_is_not_run(
    tmp_path: Path, spoil: Callable[[code.Snapshot], None], problem: str
) -> None:
    found = code.snapshot(tmp_path)
    assert code.why_not_usable(found) == ""
    spoil(found)
    assert problem in code.why_not_usable(found)
    assert code.why_not_usable(code.snapshot(tmp_path)) == ""  # made again


def test_bytecode_of_a_copy_that_came_from_elsewhere_is_removed(tmp_path: Path) -> None:
    made = code.snapshot(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / ".code", tmp_path / "b" / ".code")
    copied = code.find(tmp_path / "b", made.digest)
    for found in (made, copied):
        (found.path / "codctl" / "__pycache__").mkdir()
        assert code.why_not_usable(found) == ""
    assert [(found.path / "codctl" / "__pycache__").exists() for found in (made, copied)] == [True, False]


@pytest.mark.parametrize("digest", [STRANGER, "../../x", "."])
def test_a_name_that_is_no_digest_of_the_content_is_refused(tmp_path: Path, digest: str) -> None:
    a_stranger(tmp_path)
    assert code.why_not_usable(code.find(tmp_path, digest)) != ""


def test_a_run_that_came_from_elsewhere_brings_no_code(tmp_path: Path) -> None:
    """Its sender knows host and path, and can seal and hash a copy; the inode that it will have here he cannot know."""
    run = make_run(tmp_path, "gift")
    content = {"where": "local", "jobs": [], "code": code.snapshot(tmp_path).digest}
    run.write_dispatch(content)
    assert launch.snapshot_for(run, current_code=False).digest == code.digest()
    run.write_dispatch({**content, "place": {**place.of(run.path), "inode": 1}})
    with pytest.raises(RefusedError, match="this run was submitted in another folder") as caught:
        launch.snapshot_for(run, current_code=False)
    assert caught.value.hint == "add --current-code"


def test_the_runs_folder_is_where_the_run_lies_whatever_its_files_say(tmp_path: Path) -> None:
    run = make_run(tmp_path, "gift")
    text = run.manifest_path.read_text()
    run.manifest_path.write_text(
        text.replace('"root": ".."', '"root": "."').replace('"sweep": null', '"sweep": "/etc"')
    )
    assert (RunDirectory(run.path).root, RunDirectory(run.path).sweep) == (tmp_path, None)


def test_a_run_with_links_is_not_opened(tmp_path: Path) -> None:
    run = make_run(tmp_path, "gift")
    (run.path / "attempts").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="attempts is a link or no regular file") as caught:
        RunDirectory.open(run.path)
    assert caught.value.hint == f"rm {run.path / 'attempts'}"
    run.path.rename(tmp_path / "there")
    (tmp_path / "there" / "attempts").unlink()
    run.path.symlink_to(tmp_path / "there")
    RunDirectory.open(run.path)


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    run = make_run(tmp_path, "gift")
    (tmp_path / "precious").write_text("thesis")
    run.lock_path.symlink_to(tmp_path / "precious")
    with pytest.raises(RefusedError, match="lock is not a regular file"), run.start_attempt():
        pass
    assert (tmp_path / "precious").read_text() == "thesis"
