"""codctl doctor --agent, with agent programs of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("LikeClaude", "ok", "in the user message"),
        ("Cutting", "failed", "the hints are not whole"),
    ],
)
def test_a_program_that_is_started(cli: Any, name: str, status: str, said: str) -> None:
    outcome = cli("doctor", "--agent", f"tests.agents.fakes:{name}", "--json")
    assert outcome.code == (0 if status == "ok" else 3), outcome.out
    findings = {one["name"]: one for one in outcome.json["result"]["findings"]}
    assert (findings["session"]["status"], findings["tool calls"]["status"]) == ("ok", "ok")
    assert findings["context"]["status"] == status
    assert said in findings["context"]["message"]


def test_hints_of_a_context(cli: Any, tmp_path: Path) -> None:
    hints = tmp_path / "hints"
    hints.write_text("K moves up.")
    options = ("--contexts-dir", str(tmp_path / "contexts"))
    assert cli("context", "edit", "lake", "--from", str(hints), *options).code == 0
    outcome = cli("doctor", "--agent", "tests.agents.fakes:Fake", "--context", "lake", *options)
    assert outcome.code == 0, outcome.out
    assert "lake, revision 1, stands in it whole" in outcome.out
    assert cli("doctor", "--agent", "tests.agents.fakes:Fake", "--context", "sea", *options).code == 2


def test_options_that_need_another(cli: Any) -> None:
    assert "--context is for --agent" in cli("doctor", "--context", "lake").err
    assert "are for --endpoint" in cli("doctor", "--agent", "hermes", "--model-name", "m").err
    assert "did you mean" in cli("doctor", "--agent", "hermis").err
    assert "not for --agent" in cli("doctor", "--agent", "hermes", "--slurm").err
