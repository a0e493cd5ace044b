"""Fingerprints of packs and of play, for comparing processes, Python versions, and before with after.

Imports nothing outside the standard library and the worlds, so that another Python can run it without an installation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from random import Random
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from codctl.envs.base import Episode, Family, Pack, PolicyView, Rendering, Slot, act_now, close_now, remembered
from codctl.seeds import derive_seed
from codctl.seeds import text_digest as digest

_PLAIN = (str, int, float, complex, bool, bytes, type(None))
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def canonical(value: object) -> str:
    """All that an object holds, however deep, as text that does not depend on process, addresses or hash order.

    Values that a `cached_property` computed late are left out: they follow from the rest.
    """
    return "".join(_walk(value, {}))


def fingerprint(pack: Pack) -> str:
    """Of all that is in a pack, and all that a player could see of it."""
    family = pack.slots[0].family
    parts = [canonical([(slot.world, slot.task) for slot in pack.slots])]
    for rendering in family.renderings:
        parts.append(family.truth(pack.world, rendering))
        parts += [slot.begin(rendering).observation for slot in pack.slots]
    return digest("\0".join(parts))


def course(slot: Slot, actions: Sequence[str], rendering: Rendering) -> str:
    """All that one episode says when it is played by these actions, as far as it goes."""
    episode = slot.begin(rendering)
    said = [episode.observation]
    for action in actions:
        if episode.done:
            break
        step = act_now(episode, action)
        said += [step.observation, repr((step.reward, step.done)), step.feedback]
    close_now(episode)
    return "\0".join([*said, episode.transcript()])


def actions_of(pack: Pack, policy: str, rendering: Rendering) -> list[list[str]]:
    """What a scripted policy does at each position of a pack."""
    from codctl.cod.prompts import parse_answer

    family = pack.slots[0].family
    agent, rng = family.policy(policy), Random(derive_seed("fingerprint", policy, pack.id))
    past: list[Episode] = []
    hints = ""
    found: list[list[str]] = []
    for position, slot in enumerate(pack.slots):
        episode = slot.begin(rendering, remembered(pack, slot, past))
        view = PolicyView(pack, position, episode, tuple(past), hints, rendering)
        found.append([])
        while not episode.done:
            answer = parse_answer(agent.solve(view, rng))
            if answer.problem:
                episode.fail(answer.problem)
            else:
                found[-1].append(answer.action)
                act_now(episode, answer.action)
        close_now(episode)
        past.append(episode)
        hints = agent.update(view, rng)
    return found


def everything(
    family: Family, preset: str, variant: str, packs: int, length: int, policies: Sequence[str]
) -> list[str]:
    """A line for each of the first test packs and policies: what `same in another process` compares."""
    rendering = family.renderings[-1]
    drawn = [family.pack("test", index, length, preset, variant) for index in range(packs)]
    lines = [f"pack {index} {fingerprint(pack)}" for index, pack in enumerate(drawn)]
    for policy in policies:
        lines += [
            f"{policy} {index} {digest(repr(actions_of(pack, policy, rendering)))}" for index, pack in enumerate(drawn)
        ]
    return lines


def _walk(value: object, above: dict[int, int]) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__}:{value!r};"
        return
    if isinstance(value, _NAMED):
        yield f"named:{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(type(value)))};"
        return
    if id(value) in above:  # a cycle: how far up it leads
        yield f"up:{len(above) - above[id(value)]};"
        return
    inner = {**above, id(value): len(above)}
    yield f"{type(value).__qualname__}("
    if isinstance(value, Random):
        yield repr(value.getstate())
    elif isinstance(value, Mapping):
        yield from sorted("".join(_walk(key, inner)) + "".join(_walk(item, inner)) for key, item in value.items())
    elif isinstance(value, Set):
        yield from sorted("".join(_walk(item, inner)) for item in value)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _walk(item, inner)
    else:
        held = "".join(_attributes(value, inner))
        # Numbers of other libraries, dates and the like hold nothing that can be walked; what they print is all.
        yield held if held or type(value).__repr__ is object.__repr__ else repr(value)
        yield ")"
        return
    yield from _attributes(value, inner)
    yield ")"


def _attributes(value: object, above: dict[int, int]) -> Iterator[str]:
    kind = type(value)
    held = dict(getattr(value, "__dict__", {}))
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        held.update({n: getattr(value, n) for n in ([slots] if isinstance(slots, str) else slots) if hasattr(value, n)})
    for name in sorted(held):
        if name not in ("__dict__", "__weakref__") and not isinstance(getattr(kind, name, None), cached_property):
            yield f"{name}="
            yield from _walk(held[name], above)
