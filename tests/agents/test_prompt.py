"""What an agent program is asked: rules and tools, no hints and no answer tags."""

from __future__ import annotations

import pytest

from codctl.agents.prompt import task_prompt
from codctl.envs.registry import families, get_family

NAMES = sorted(families())


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_asked_for_in_terms_of_tools(name: str) -> None:
    family = get_family(name)
    for preset in family.presets:
        slot = family.pack("test", 0, 1, preset, family.variants[0]).slots[0]
        for rendering in family.renderings:
            prompt = task_prompt(slot, rendering)
            assert prompt.startswith(family.rules(preset, rendering))
            assert "<answer>" not in prompt
            assert "reply must" not in prompt
            assert "Hints from" not in prompt
            assert "hints none" not in prompt
            assert f"\n{family.reply_form(preset).action}" in prompt


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_make_the_prompt_that_models_read(name: str) -> None:
    """Models, agent programs and updates read the same rules."""
    family = get_family(name)
    for preset in family.presets:
        for rendering in family.renderings:
            prompt = family.solve_prompt("THE {HINTS}", rendering, preset)
            assert prompt.startswith(family.rules(preset, rendering))
            assert "THE {HINTS}" in prompt
            assert ("<answer>" in prompt) == (rendering != "compact")


def test_a_task_in_full() -> None:
    slot = get_family("frozen_lake").pack("test", 0, 1, "easy").slots[0]
    assert task_prompt(slot, "full").endswith(
        "\n\nUse the tools of the server `world`. `observe` shows the task. `act` plays one action and shows what it "
        "led to. Think first, then choose a code. The text of `act` is the action and nothing else, like this:\nQ\n\n"
        "Go on until you are told that the task is over. Then stop."
    )
