"""What an agent program is asked to do with a task: the rules of its world, and how to play it with tools."""

from __future__ import annotations

from codctl.envs.base import Rendering, Slot

_TOOLS = """\
Use the tools of the server `world`. `observe` shows the task. `act` plays one action and shows what it led to. Think \
first, then {ask} The text of `act` is the action and nothing else, like this:
{action}"""
_END = "Go on until you are told that the task is over. Then stop."


def task_prompt(slot: Slot, rendering: Rendering) -> str:
    """What the user of an agent program says. Hints are not in it: they stand in the program's own memory."""
    form = slot.family.reply_form(slot.preset)
    tools = _TOOLS.format(ask=form.ask, action=form.action)
    return "\n\n".join([slot.family.rules(slot.preset, rendering), "\n".join(filter(None, [tools, form.note])), _END])
