"""Does playing leave a trace: in the world, in another episode, in another pack, in a generator that all share?"""

from __future__ import annotations

import random
import sys
from random import Random

from codctl.envs.base import Pack, Rendering, Slot
from codctl.envtools.validate.check import Finding, Subject, package_of
from codctl.envtools.validate.fingerprint import actions_of, canonical, course, fingerprint
from codctl.seeds import derive_seed

_PACKS = 4
_FIX = "keep changing state in the episode only: freeze worlds and tasks, store nothing in classes, defaults or modules"


def sharing(subject: Subject) -> Finding:
    family_before = canonical(vars(subject.family))
    for pack in subject.packs[:_PACKS]:
        second = subject.draw(pack.index)
        second_before = fingerprint(second)
        for policy in subject.policies:
            for position, actions in enumerate(actions_of(pack, policy, subject.rendering)):
                if trace := _trace(pack, position, actions, subject.rendering):
                    return Finding(False, f"{pack.id}, position {position + 1}: {trace}", _FIX)
        if fingerprint(second) != second_before or fingerprint(subject.draw(pack.index)) != second_before:
            return Finding(False, f"{pack.id}: playing it changed the same pack drawn a second time", _FIX)
    if canonical(vars(subject.family)) != family_before:
        return Finding(False, "the family itself changed, but one instance serves the whole process", _FIX)
    return Finding(True, "playing changes no world, no task, no other episode and no other pack")


def randomness(subject: Subject) -> Finding:
    """Global generators, and those that modules of the family hold, must stand where they stood."""
    before = _generators(subject)
    for index in range(_PACKS):
        pack = subject.draw(index)
        for policy in subject.policies:
            actions_of(pack, policy, subject.rendering)
        subject.family.redraw(pack.world, Random(derive_seed("validate", index)))
        subject.family.score_context(pack.world, subject.family.truth(pack.world, subject.rendering), [])
    after = _generators(subject)
    moved = [name for name, state in after.items() if state != before.get(name, state)]
    return Finding(
        not moved,
        f"drawing and playing used {', '.join(moved)}" if moved else "only the generators passed in were used",
        "use only the `rng` passed in; an episode that needs randomness takes its seed from the task",
    )


def _trace(pack: Pack, position: int, actions: list[str], rendering: Rendering) -> str:
    """What playing one episode changed elsewhere, in words."""
    slot = pack.slots[position]
    beside: tuple[Slot, ...] = (slot, pack.slots[(position + 1) % len(pack)])
    live = [other.begin(rendering) for other in beside]
    before = [canonical(episode) for episode in live]
    drawn = canonical((slot.world, slot.task))
    first = course(slot, actions, rendering)
    if canonical((slot.world, slot.task)) != drawn:
        return "playing changed the world or the task"
    if [canonical(episode) for episode in live] != before:
        return "playing one episode changed another one in progress"
    if course(slot, actions, rendering) != first:
        return "the same actions lead to another result the second time"
    return ""


def _generators(subject: Subject) -> dict[str, str]:
    """The state of each generator that is not handed in."""
    found = {"the global generator of `random`": repr(random.getstate())}
    if "numpy.random" in sys.modules:
        state = sys.modules["numpy.random"].get_state()
        found["the global generator of numpy"] = repr((state[1].tolist(), *state[2:]))
    package = package_of(subject.family)
    for name, module in sorted(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            held = {key: value for key, value in vars(module).items() if isinstance(value, Random)}
            found.update({f"{name}.{key}": repr(value.getstate()) for key, value in held.items()})
    return found
