"""Tasks: every kind can be done in every kind of world, and only doing it counts."""

from __future__ import annotations

import re
from functools import cache
from random import Random

import pytest

from codctl.cod.prompts import parse_answer
from codctl.cod.strategies import Drift, draw_pack
from codctl.envs.base import Pack, PolicyView
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.generator import PRESETS
from codctl.envs.terminal.sites import SYSTEMS
from codctl.envs.terminal.tasks import DROP, TerminalWorld

FAMILY = Terminal()
KINDS = [(preset, kind) for preset, bounds in PRESETS.items() for kind in bounds.kinds]


@cache
def packs(preset: str, variant: str, count: int, length: int = 4) -> list[Pack]:
    return [FAMILY.pack("validation", index, length, preset, variant) for index in range(count)]


def played(pack: Pack, policy: str, length: int | None = None) -> list[TerminalEpisode]:
    agent, past = FAMILY.policy(policy), []
    for position, slot in enumerate(pack.slots[:length]):
        episode = slot.begin("compact")
        assert isinstance(episode, TerminalEpisode)
        while not episode.done:
            view = PolicyView(pack, position, episode, tuple(past), "", "compact")
            episode.act(parse_answer(agent.solve(view, Random(0))).action)
        past.append(episode)
    return past


def first(kind: str, variant: str, policy: str = "informed") -> TerminalEpisode:
    """An episode of a kind of task, played."""
    preset = next(preset for preset, other in KINDS if other == kind)
    for pack in packs(preset, variant, 40):
        for slot in pack.slots:
            if slot.task.kind == kind:  # type: ignore[attr-defined]
                alone = Pack(pack.family, preset, variant, pack.split, pack.index, (slot,))
                return played(alone, policy)[0]
    raise AssertionError(f"no task of kind {kind}")


def test_there_are_nine_single_and_eight_composite_kinds() -> None:
    assert [len(PRESETS[preset].kinds) for preset in ("easy", "hard")] == [9, 8]


@pytest.mark.parametrize("variant", FAMILY.variants)
@pytest.mark.parametrize(("preset", "kind"), KINDS)
def test_informed_does_every_kind(preset: str, kind: str, variant: str) -> None:
    episode = first(kind, variant)
    assert episode.reward == 1.0
    assert (len(episode.task.steps) > 1) == (preset == "hard")
    assert episode.turns <= 6
    assert not any(ran.failed for ran in episode.log)


@pytest.mark.parametrize("variant", FAMILY.variants)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_task_is_open_at_first_and_done_by_informed(preset: str, variant: str) -> None:
    systems = set()
    for pack in packs(preset, variant, 40):
        for slot, episode in zip(pack.slots, played(pack, "informed"), strict=True):
            fresh = slot.begin("compact")
            assert isinstance(fresh, TerminalEpisode)
            assert not fresh.is_solved()
            assert (episode.reward, episode.feedback) == (1.0, "The task is done.")
            systems.add(episode.site.local.identity.system)
    assert systems == set(SYSTEMS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_redrawn_world_has_other_rules_for_the_same_tasks(preset: str) -> None:
    for pack in packs(preset, "shared_world", 25):
        changed = draw_pack(FAMILY, Drift(1), "validation", pack.index, 4, preset)
        world, other = changed.slots[0].world, changed.slots[1].world
        assert world.site is other.site
        assert world.rules != other.rules
        assert [episode.reward for episode in played(changed, "informed")] == [1.0] * 4


def test_paper_worlds_share_nothing() -> None:
    pack = FAMILY.pack("train", 0, 8, "easy", "paper")
    sites = [task.site for task in pack.tasks]  # type: ignore[attr-defined]
    assert len({site.local.identity for site in sites}) == 8
    assert FAMILY.facts(pack.world) == 0
    assert FAMILY.truth(pack.world, "full") == FAMILY.truth(pack.world, "compact") == ""
    assert FAMILY.redraw(pack.world, Random(0)) is pack.world


def test_shared_worlds_have_one_site() -> None:
    pack = FAMILY.pack("train", 0, 8, "easy")
    assert len({id(task.site_in(pack.world)) for task in pack.tasks}) == 1  # type: ignore[attr-defined]
    assert FAMILY.facts(pack.world) == 10


def begin(kind: str, variant: str = "paper") -> TerminalEpisode:
    episode = first(kind, variant)
    return TerminalEpisode(TerminalWorld(episode.site, episode.shell.rules), episode.task, "full")


def test_moving_away_is_not_deleting() -> None:
    episode = begin("delete")
    step = episode.task.steps[0]
    if step.side == "remote":
        episode.act(f"ssh {episode.site.remote.identity.host}")
    path = episode.shell.here.show(step.source)
    episode.act(f"mv {path} ~/kept")
    assert not episode.done
    assert episode.act("rm ~/kept").reward == 1.0


def test_a_file_of_the_right_name_with_other_content_does_not_count() -> None:
    episode = begin("copy")
    step = episode.task.steps[0]
    other = next(path for path in episode.site.side(step.side).files if path != step.source)
    if step.side == "remote":
        episode.act(f"ssh {episode.site.remote.identity.host}")
    show = episode.shell.here.show
    assert episode.act(f"cp {show(other)} {show(step.target)}").reward == 0
    assert episode.act(f"cp {show(step.source)} {show(step.target)}").reward == 1.0


def test_the_goal_ends_the_episode_in_the_middle_of_a_line() -> None:
    episode = begin("mkdir", "shared_world")
    rules = episode.shell.rules
    assert rules
    path = episode.site.side(episode.task.steps[0].side).identity.write(
        tuple(rules.truth["drop"] if part == DROP else part for part in episode.task.steps[0].source)
    )
    assert episode.act(f"pwd; {rules.truth['make']} make {path}; whoami").reward == 1.0
    assert episode.turns == 2


def test_as_published_a_line_is_a_step_and_its_end_decides() -> None:
    episode = begin("mkdir")
    step = episode.task.steps[0]
    if step.side == "remote":
        episode.act(f"ssh {episode.site.remote.identity.host}")
    before, path = episode.turns, episode.shell.here.show(step.source)
    assert not episode.act(f"mkdir {path} && mv {path} {path}x").done
    assert episode.act(f"pwd; mv {path}x {path}; whoami").reward == 1.0
    assert episode.turns == before + 2
    assert FAMILY.in_variant("paper").turn_penalty == 0.0
    assert FAMILY.turn_penalty > 0.0


def test_each_command_is_a_step_and_a_refused_line_one() -> None:
    episode = begin("upload", "shared_world")
    for line, turns in [("pwd; pwd", 2), ("cat no && pwd && pwd", 3), ("ls | wc", 4), ("pwd" + "; pwd" * 6, 11)]:
        episode.act(line)
        assert episode.turns == turns
    step = episode.act("pwd; pwd; pwd")
    assert (step.done, step.reward, episode.turns) == (True, 0.0, 12)
    assert step.feedback.splitlines()[-1].startswith("You ran out of steps. Not done: ")
    assert step.feedback.endswith(" is missing.")
    with pytest.raises(ValueError, match="the episode is over"):
        episode.act("pwd")


def test_as_published_a_lost_task_only_says_that_it_is_not_done() -> None:
    episode = begin("upload")
    for _ in range(12):
        episode.act("pwd; pwd")
    assert (episode.turns, episode.reward) == (12, 0.0)
    assert episode.feedback.splitlines()[-1] == "You ran out of steps. The task is not done."


def test_as_published_half_of_the_tasks_are_composite() -> None:
    composite = [
        len(task.steps) > 1  # type: ignore[attr-defined]
        for index in range(500)
        for task in FAMILY.pack("train", index, 4, "hard", "paper").tasks
    ]
    assert sum(composite) / len(composite) == pytest.approx(0.5, abs=3 * 0.5 / len(composite) ** 0.5)
    assert {len(task.steps) > 1 for task in FAMILY.pack("train", 0, 8, "easy", "paper").tasks} == {True, False}  # type: ignore[attr-defined]


@pytest.mark.parametrize("action", ["", "  ", "\n"])
def test_only_an_empty_line_is_unreadable(action: str) -> None:
    episode = begin("upload")
    step = episode.act(action)
    assert (step.done, episode.unreadable, step.feedback) == (
        True,
        True,
        "The reply could not be used: the command line is empty.",
    )
    other = begin("upload")
    assert not other.act("'").done
    assert not other.unreadable


@pytest.mark.parametrize("kind", ["copy", "pack_upload", "chmod", "upload_chmod"])
def test_no_text_gives_a_hidden_fact_away(kind: str) -> None:
    episode = first(kind, "shared_world")
    rules = episode.shell.rules
    assert rules is not None
    for rendering in ("full", "compact"):
        fresh = TerminalEpisode(TerminalWorld(episode.site, rules), episode.task, rendering)
        texts = [fresh.observation, FAMILY.solve_prompt("", rendering, "easy")]
        while not fresh.done:
            fresh.act("pwd")
        texts += [fresh.feedback, fresh.transcript()]
        words = {word for text in texts for word in re.findall(r"\w+", text)}
        assert not words & {rules.truth["drop"], rules.truth["port"], rules.truth["mode"], rules.truth["send"]}
        if any(DROP in (*step.source, *step.target) for step in episode.task.steps):
            assert DROP in fresh.observation
            assert DROP in fresh.feedback
