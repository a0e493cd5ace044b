"""Are packs drawn as they must be: again the same, prefixes of each other, apart in every split, with a way out?"""

from __future__ import annotations

from random import Random

from codctl.cod.prompts import parse_answer
from codctl.envs.base import SPLITS, Episode, Pack, Policy, PolicyView, act_now, close_now
from codctl.envtools.validate.check import Finding, Subject
from codctl.envtools.validate.fingerprint import canonical, fingerprint
from codctl.quantities import counted
from codctl.seeds import derive_seed

_ORDERED = 12  # packs that are drawn again in another order


def drawn(subject: Subject) -> Finding:
    wrong = [f"{pack.id} has {len(pack)}" for pack in subject.packs if len(pack) != subject.length]
    if wrong:
        return Finding(
            False, f"expected {counted(subject.length, 'task')}: {wrong[0]}", "`sample` must return `length` tasks"
        )
    first = [fingerprint(pack) for pack in subject.packs[:_ORDERED]]
    again = [fingerprint(subject.draw(index)) for index in reversed(range(len(first)))][::-1]
    changed = [pack.id for pack, a, b in zip(subject.packs, first, again, strict=False) if a != b]
    if changed:
        return Finding(
            False,
            f"drawing {changed[0]} again after other packs gives a different pack",
            "draw only from the `rng` passed to `sample`, and keep no state in the family or its modules",
        )
    return Finding(
        True, f"{counted(len(subject.packs), 'pack')} of {counted(subject.length, 'task')}, the same in any order"
    )


def ends(subject: Subject) -> Finding:
    """Whether an episode is over when its turns are spent. Without that every later check might run forever."""
    for pack in subject.packs[:_ORDERED]:
        agent = subject.family.policy("random")
        for position, slot in enumerate(pack.slots):
            episode = slot.begin(subject.rendering)
            if not _plays_to_the_end(agent, PolicyView(pack, position, episode, (), "", subject.rendering)):
                return Finding(
                    False,
                    f"{pack.id}, position {position + 1}: not over after its {episode.max_turns} turns",
                    "`act` must end the episode (`done`) at the latest when `turns` reaches `max_turns`",
                )
    return Finding(True, "every episode is over within its turn budget")


def prefixes(subject: Subject) -> Finding:
    stable = subject.family.stable_length
    lengths = sorted({1, min(subject.length, stable), min(subject.length + 2, stable), stable})
    for index in range(3):
        whole = _parts(subject.draw(index, length=stable))
        for length in lengths:
            pack = subject.draw(index, length=length)
            if _parts(pack) != whole[: length + 1]:
                return Finding(
                    False,
                    f"{pack.id}: a pack of {length} is not the beginning of a pack of {stable}",
                    "draw the world first and then one task after another, without looking at `length`; "
                    "or set `stable_length` to where this ends",
                )
    return Finding(True, f"a longer pack begins with the shorter one, up to {counted(stable, 'task')}")


def splits(subject: Subject) -> Finding:
    owner: dict[str, Pack] = {}
    repeated = 0
    for split in SPLITS:
        for index in range(subject.count):
            pack = subject.draw(index, split=split)
            first = owner.setdefault(fingerprint(pack), pack)
            repeated += first is not pack
            if first.split != pack.split:
                return Finding(
                    False,
                    f"{pack.id} is the same pack as {first.id}",
                    "draw from the `rng` that `sample` is given (it differs by split), and from more worlds and tasks",
                )
    return Finding(
        True,
        f"{counted(subject.count, 'pack')} of each split, none in two splits; {repeated} drawn twice within a split",
    )


def redraw(subject: Subject) -> Finding:
    family = subject.family
    for pack in subject.packs[:20]:
        before = canonical(pack.world)
        other, same = (family.redraw(pack.world, Random(derive_seed("validate", pack.id))) for _ in range(2))
        if canonical(other) != canonical(same) or canonical(pack.world) != before:
            return Finding(
                False,
                f"{pack.id}: the same seed redraws another world, or the old world changed",
                "`redraw` must build a new world from the old one and `rng` alone",
            )
        hidden = family.facts(pack.world) > 0
        if hidden != (family.truth(other, "full") != family.truth(pack.world, "full")):
            said = "has the same hidden facts" if hidden else "has other hidden facts, though it has none to hide"
            return Finding(False, f"{pack.id}: the redrawn world {said}", "draw again until the truth differs")
        for slot in pack.slots:
            for rendering in family.renderings:
                family.begin(other, slot.task, rendering)
    return Finding(True, "a redrawn world has other facts, and its tasks can start")


def _parts(pack: Pack) -> list[str]:
    return [canonical(pack.world), *(canonical(task) for task in pack.tasks)]


def _plays_to_the_end(agent: Policy, view: PolicyView) -> bool:
    episode: Episode = view.episode
    rng = Random(derive_seed("validate", view.pack.id, view.position))
    for _ in range(episode.max_turns):
        if episode.done:
            break
        answer = parse_answer(agent.solve(view, rng))
        if answer.problem:
            episode.fail(answer.problem)
        else:
            act_now(episode, answer.action)
    close_now(episode)
    return episode.done and episode.turns <= episode.max_turns
