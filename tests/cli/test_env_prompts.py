"""Prompts as they are printed; docs/prompts.md shows them word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codctl.envs.registry import built_in
from codctl.envtools.prompts import MARK, write_page
from codctl.errors import UsageError

PAGE = Path(__file__).parents[2] / "docs" / "prompts.md"


def test_the_page_shows_every_prompt_of_every_family(cli, tmp_path: Path) -> None:
    copy = tmp_path / "prompts.md"
    copy.write_text(PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK, encoding="utf-8")
    assert cli("env", "prompts", "--write", str(copy)).code == 0
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), (
        "prompts have changed: codctl env prompts --write docs/prompts.md"
    )
    for family in (kind() for kind in built_in()):
        for rendering in family.renderings:
            assert f"\n## {family.name}, {rendering}\n" in copy.read_text(encoding="utf-8")


def test_both_kinds_of_episodes_as_messages(cli) -> None:
    outcome = cli("env", "prompts", "alchemy", "--rendering", "full", "--suggested-tokens", "1500", "--json")
    shown = json.loads(outcome.out)["result"]["prompts"]
    assert [one["kind"] for one in shown[:3]] == ["solve, first task", "update", "solve, second task"]
    solve, update, second = (one["messages"] for one in shown[:3])
    assert [message["role"] for message in solve[:4]] == ["system", "user", "assistant", "user"]
    assert [message["role"] for message in update] == ["system", "user", "assistant"]
    assert all("under about 1,500 tokens" in messages[0]["content"] for messages in (solve, update, second))
    hints = update[-1]["content"].partition("--- Start of updated hints ---")[2].partition("---")[0].strip()
    assert hints in second[0]["content"]
    assert "(none yet)" in solve[0]["content"]


def test_a_page_without_a_place_for_prompts_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Prompts\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no page with a line"):
        write_page(page, "text")
    assert page.read_text(encoding="utf-8") == "# Prompts\n"
