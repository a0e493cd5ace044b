"""A run goes on with the code that it began with, whatever is edited meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import codctl
from codctl.runs import code

SCRIPT = """
import sys
from pathlib import Path
from codctl.runs import code
import codctl.evaluate
code.digest()
if "edited before" in sys.argv:
    Path(codctl.__file__).with_name("seeds.py").write_text("EDITED = True\\n")
code.fix(Path("runs"))
from codctl.runs import clean
kept = clean.find(Path("runs")).kept
for path in Path("copy").rglob("*"):
    if path.is_file():
        path.write_text("raise RuntimeError('edited meanwhile')")
import codctl.seeds, codctl.results.statistics, codctl.envs.frozen_lake.text
from importlib import resources
print(resources.files("codctl.report").joinpath("templates", "style.css").read_text()[:20])
print(code.digest() == code.snapshot(Path("runs")).digest)
from codctl.tracking import sender
child = sender.start("codctl.runs.code")
print(child.wait(), codctl.__file__)
print(*kept)
"""


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(Path(codctl.__file__).parent, folder / "copy/codctl", ignore=shutil.ignore_patterns("__pycache__"))
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "copy", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_imported_later_is_of_the_code_from_the_start(tmp_path: Path) -> None:
    done = script(tmp_path)
    assert done.returncode == 0, done.stderr
    style, same, child, kept = done.stdout.splitlines()[-4:]
    assert "edited" not in style
    assert same == "True"
    assert child.startswith(f"0 {tmp_path}/runs/.code/")
    assert kept.endswith(": in use")
    [snapshot] = (path for path in (tmp_path / "runs/.code").iterdir() if path.is_dir())
    assert not code.is_used(snapshot)


def test_code_that_was_edited_before_is_refused(tmp_path: Path) -> None:
    done = script(tmp_path, "edited before")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("codctl's own files were edited since it started")
