"""Every prompt as a model gets it: both kinds of episode, filled in by a short game of the demonstrator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.cod.conversation import ByteChat
from codctl.cod.prompts import solve_messages, update_system
from codctl.cod.references import UNBOUNDED, demonstrates, usual_policy
from codctl.cod.rollout import Player
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs.base import Family, Message, Pack, Rendering, UpdateRule
from codctl.errors import UsageError
from codctl.files.atomic import write_bytes

MARK = "<!-- prompts -->"
_SEED = 0
_TRIED = 40  # packs, of which the first with a game of a fitting length is shown
_TURNS = (2, 4)


@dataclass(frozen=True)
class Example:
    """The conversation of one episode.

    Attributes:
        family: Its name.
        preset: Difficulty.
        variant: Distribution of worlds.
        rendering: How it is written.
        kind: What is asked for, in words.
        messages: From the system prompt to the last reply.
    """

    family: str
    preset: str
    variant: str
    rendering: str
    kind: str
    messages: list[Message]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def examples_of(
    family: Family,
    preset: str,
    variant: str,
    renderings: Sequence[Rendering],
    suggested_tokens: int | None,
    update: UpdateRule = "rewrite",
) -> Iterator[Example]:
    """The first solve and update episode of a pack, and the solve episode that reads the new hints."""
    for rendering in renderings:
        settings = RolloutSettings(
            rendering,
            solve_tokens=UNBOUNDED,
            update_tokens=UNBOUNDED,
            suggested_tokens=suggested_tokens,
            update=update,
        )
        pack, trajectory = _game(family, preset, variant, settings)
        first, rewritten, second = trajectory.episodes[:3]
        told = (
            ("solve, first task", _solve(pack, first, settings)),
            ("update", _update(rewritten, settings)),
            ("solve, second task", _solve(pack, second, settings)[:2]),
        )
        for kind, messages in told:
            yield Example(family.name, preset, variant, rendering, kind, messages)


def other_rules(family: Family, shown: tuple[str, str], renderings: Sequence[Rendering]) -> Iterator[Example]:
    """The rules of the other presets and variants, where they differ from those shown."""
    for rendering in renderings:
        known = {family.in_variant(shown[1]).rules(shown[0], rendering)}
        for variant in family.variants:
            for preset in family.presets:
                rules = family.in_variant(variant).rules(preset, rendering)
                if rules not in known:
                    known.add(rules)
                    system = [{"role": "system", "content": rules}]
                    yield Example(family.name, preset, variant, rendering, "rules", system)


def markdown(examples: Sequence[Example]) -> str:
    """A section for each family and rendering; each message in a box under its role."""
    parts: list[str] = []
    heading = ""
    for one in examples:
        if (title := f"## {one.family}, {one.rendering}") != heading:
            heading = title
            parts.append(title)
        parts.append(f"### {one.kind[0].upper()}{one.kind[1:]} ({one.preset}, {one.variant})")
        boxes = ((message["role"].capitalize(), message["content"]) for message in one.messages)
        parts += [f"{role}:\n\n````text\n{content}\n````" for role, content in boxes]
    return "\n\n".join(parts)


def write_page(page: Path, text: str) -> None:
    """Put the prompts below the mark of a page, in place of what was there.

    Raises:
        UsageError: There is no such page, or it has no mark.
    """
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    head, mark, _ = old.partition(MARK)
    if not mark:
        raise UsageError(f"no page with a line {MARK}", where=str(page), hint="add the line where the prompts belong")
    write_bytes(page, f"{head}{MARK}\n\n{text}\n".encode())


def _game(family: Family, preset: str, variant: str, settings: RolloutSettings) -> tuple[Pack, Trajectory]:
    """A short game that shows something: the first task takes a few turns, and the update writes facts."""
    chat = ByteChat()
    name = "demonstrator" if demonstrates(family) else usual_policy([family])
    policy = EachFamily(name, keep_fact=1.0, wrong_fact=0.0)
    player = Player(ScriptedAgent(policy, chat), chat, settings, _SEED)
    found: list[tuple[Pack, Trajectory]] = []
    for index in range(_TRIED):
        pack = family.pack("test", index, 2, preset, variant)
        trajectory = asyncio.run(player.play(pack, 0))
        turns, score = trajectory.episodes[0].turns, trajectory.episodes[1].hint_score
        if _TURNS[0] <= turns <= _TURNS[1] and (score.right or not family.facts(pack.world)):
            return pack, trajectory
        found.append((pack, trajectory))
    return min(found, key=lambda game: game[1].episodes[0].turns)


def _solve(pack: Pack, record: EpisodeRecord, settings: RolloutSettings) -> list[Message]:
    slot = pack.slots[record.position]
    first = slot.begin(settings.rendering).opening or record.observations[0]
    messages = solve_messages(slot, record.hints, first, settings.rendering, settings.suggested_tokens)
    for observation, reply in zip((*record.observations[1:], ""), record.replies, strict=False):
        messages.append({"role": "assistant", "content": reply})
        if observation:
            messages.append({"role": "user", "content": observation})
    return messages


def _update(record: EpisodeRecord, settings: RolloutSettings) -> list[Message]:
    return [
        {"role": "system", "content": update_system(settings.rendering, settings.suggested_tokens, settings.update)},
        {"role": "user", "content": record.observations[0]},
        {"role": "assistant", "content": record.replies[0]},
    ]
