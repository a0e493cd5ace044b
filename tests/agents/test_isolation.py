"""What an agent program is given: nothing of the hidden world, of other sessions, and of the user's keys."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codctl.agents.program import Launch, ModelAccess, Places, Task
from tests.agents.fakes import Fake
from tests.agents.test_performer import inside, pack_of, player_of

KEY = "the-key-of-somebody"
LOOK = """
import os, pathlib, sys
print(sys.argv, dict(os.environ), os.getcwd())
print(pathlib.Path("/proc/self/cmdline").read_text(), pathlib.Path("/proc/self/environ").read_text())
for folder in sys.argv[1:]:
    for path in pathlib.Path(folder).rglob("*"):
        print(path, path.read_text() if path.is_file() else "")
"""


class Looking(Fake):
    """Prints all that it was given."""

    def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
        launch = super().prepare(places, model, task)
        folders = map(str, (places.home, places.work, places.temp))
        return replace(launch, argv=(sys.executable, "-I", "-S", "-c", LOOK, *folders))


def test_a_program_is_given_nothing_that_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODYS_API_KEY", KEY)
    monkeypatch.setenv("CODCTL_SOMETHING", KEY)
    pack = pack_of(length=1, preset="easy")
    (trajectory,) = inside(player_of("full"), [pack], Looking(), tmp_path, tools="all")
    assert trajectory.of("solve")[0].failed  # it never asked the model
    said = next(tmp_path.rglob("stdout")).read_text()
    assert "relay.py" in said
    assert "world.sock" in said
    assert KEY not in said
    for fact in pack.slots[0].family.truth(pack.world, "full").splitlines():
        assert fact.strip("- ") not in said
    for hidden in (pack.id, "frozen_lake", repr(pack.world), str(tmp_path)):
        assert hidden not in said
