"""Answers thrown at every family: whatever they are, an episode ends as episodes do and the world stays as it was.

`CODCTL_FUZZ_EXAMPLES` says how many answers each family gets.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from codctl.cod.prompts import Account, parse_answer, update_messages
from codctl.envs.base import Family, PolicyView
from codctl.envs.registry import built_in

EXAMPLES = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "1500"))
PIECES = (
    "K", "Q", "up:", "left=X", "a+b", "a", "b", "+", "m", ":", "=", "<answer>", "</answer>", "ls", "cd", "~", "..", "/",
    "&&", ";", "|", "'x'", "0", "-1", "é", "💥", "\x00", "\ud800", "\u202e", "not", "none",
    "<stop />", "<stop", "stop", "?", "where", "severity", "severity=need",
)  # fmt: skip


def hostile(rng: Random, good: str) -> str:
    """Pieces of answers, noise, or a good answer that was spoilt."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(" |").join(rng.choices(PIECES, k=rng.randint(0, 6)))
    if kind == 1:
        return "".join(map(chr, rng.choices(range(0x3000), k=rng.choice((0, 1, 5, 40, 2000)))))
    cut = rng.randint(0, len(good))
    return good[:cut] + rng.choice(PIECES) + good[cut:] if kind == 2 else good


@pytest.mark.parametrize("family", [kind() for kind in built_in()], ids=lambda family: family.name)
def test_no_answer_breaks_an_episode(family: Family) -> None:
    rng = Random(0)
    packs = [
        family.pack("test", i, 2, preset, v) for preset in family.presets for v in family.open_variants for i in (0, 1)
    ]
    policies = [family.policy(name) for name in ("informed", "random")]
    surfaces = [family.describe_task(slot.world, slot.task) for pack in packs for slot in pack.slots]
    thrown = 0
    while thrown < EXAMPLES:
        pack, rendering, policy = rng.choice(packs), rng.choice(family.renderings), rng.choice(policies)
        position = rng.randrange(2)
        episode = pack.slots[position].begin(rendering)
        view = PolicyView(pack, position, episode, (), "", rendering)
        while not episode.done:
            good = parse_answer(policy.solve(view, rng)).action
            step = episode.act(hostile(rng, good))
            thrown += 1
            assert bool(step.feedback) == step.done
            assert step.done or step.observation
        least, most = family.reward_range
        assert least <= episode.reward <= most if family.graded else episode.reward in (0.0, 1.0)
        assert all(message["content"].strip() for message in update_messages("", Account(episode), rendering))
        score = family.score_context(pack.world, hostile(rng, family.truth(pack.world, rendering)), [episode])
        assert min(score.right, score.wrong, score.missing, score.knowable, score.knowable_right) >= 0
    assert surfaces == [family.describe_task(slot.world, slot.task) for pack in packs for slot in pack.slots]
