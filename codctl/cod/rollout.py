"""The interleaved rollout: solve, update, solve, … through one pack, as plain sequential code.

One coroutine plays one trajectory. Any number run at once; the engine batches whatever waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from codctl.cod.agent import Agent, agent_of
from codctl.cod.arms import OwnHints
from codctl.cod.attempt import Attempt, Performance, Performer, WorldError, by_turns, fault_of, play_action
from codctl.cod.context import ParsedUpdate, Revision, as_hints, parse_update, revise
from codctl.cod.conversation import Chat, Conversation, converse
from codctl.cod.engine import Engine, EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import Account, Turn, update_messages
from codctl.cod.requests import Request, Requests
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord, Kind, Trajectory
from codctl.envs.base import Episode, HintScore, Message, Pack, PolicyView, Rendering, Slot, remembered
from codctl.log import log
from codctl.outcomes import FAULTS, UNPLAYED, ReplyFault
from codctl.seeds import derive_seed


class Hints(Protocol):
    """Where the hints of a solve episode come from. `updates` says whether the agent writes any."""

    @property
    def updates(self) -> bool: ...

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str: ...


@dataclass
class Player:
    """Plays packs with one engine or agent. `seed` is the root from which every request's own seed is derived."""

    engine: Engine | Agent
    chat: Chat
    settings: RolloutSettings
    seed: int
    hints: Hints = field(default_factory=OwnHints)
    performer: Performer | None = None  # an agent program between model and world
    requests: Requests = field(default_factory=Requests)  # to this engine, of all players that were made of this one

    async def play(self, pack: Pack, rollout: int) -> Trajectory:
        """Play one trajectory through the pack."""
        self.engine.open_session()
        try:
            return await self._play(pack, rollout)
        finally:
            self.requests.trajectories += 1
            self.engine.close_session()

    async def _play(self, pack: Pack, rollout: int) -> Trajectory:
        revisions = [Revision()]
        records: list[EpisodeRecord] = []
        past: list[Episode] = []
        told: list[Told] = []
        for position, slot in enumerate(pack.slots):
            hints = self.hints.at(pack, position, revisions[-1], [one.episode for one in told])
            before = remembered(pack, slot, past)
            episode = slot.begin(self.settings.rendering, before)
            view = PolicyView(
                pack,
                position,
                episode,
                tuple(one.episode for one in told),
                hints,
                self.settings.rendering,
                self.settings.update,
            )
            try:
                record = await self._solve(view, rollout, past)
            finally:
                await _close(episode)
            records.append(record)
            past.append(episode)
            told.append(await retold(slot, episode, record, self.settings.rendering, before))
            if self.hints.updates and position < len(pack) - 1:
                record, revision = await self._update(view, told[-1], rollout, revisions[-1], past)
                records.append(record)
                revisions.append(revision)
        return Trajectory(pack.id, rollout, tuple(records), tuple(revisions))

    async def _solve(self, view: PolicyView, rollout: int, past: Sequence[Episode]) -> EpisodeRecord:
        async def make(conversation: Conversation, turn: int) -> Generation:
            return await self._ask("solve", conversation, view, rollout, turn)

        episode, slot = view.episode, view.slot
        attempt = Attempt(view, self.settings, self.chat, rollout, make)
        performance = None
        if self.performer:
            performance = await self.performer.perform(attempt)
        else:
            await by_turns(attempt)
        fault, failed = attempt.fault, _failure(attempt.fault)
        return self._record(
            "solve",
            view,
            attempt.conversation,
            raw_reward=episode.reward,
            shaped_reward=self._shaped(slot, episode),
            hints=view.hints,
            hint_score=hint_score(view, view.hints, past),
            feedback=episode.feedback,
            format_error=episode.unreadable and not failed,
            outcome=fault.kind if fault else episode.outcome,
            failed=failed,
            fault=fault,
            weight_version=attempt.version,
            replies=tuple(attempt.replies),
            observations=tuple(attempt.observations),
            actions=tuple(attempt.actions),
            performance=performance,
        )

    async def _update(
        self, view: PolicyView, told: Told, rollout: int, own: Revision, past: Sequence[Episode]
    ) -> tuple[EpisodeRecord, Revision]:
        view = replace(view, episode=told.episode)
        slot, rendering = view.slot, self.settings.rendering
        account = Account(
            told.episode,
            slot.family.rules(slot.preset, rendering),
            told.turns,
            self._shaped(slot, told.episode) if told.episode.shows_reward else None,
            slot.family.graded,
        )
        # An agent program that keeps the hints itself does so in its own way.
        rule = "rewrite" if self.performer and self.performer.rewrites else self.settings.update
        messages = update_messages(view.hints, account, rendering, self.settings.suggested_tokens, rule)
        conversation = converse(self.chat, messages)
        written = await self._written(view, rollout, conversation, messages)
        parsed, fault = written.parsed, written.fault
        failed = _failure(fault)
        on_failure = "keep" if failed else self.settings.on_parse_failure  # not the model's fault: nothing is wiped
        revision = revise(
            own,
            parsed,
            position=view.position,
            tokens=0 if parsed.problem else len(self.chat.encode(parsed.text)),
            on_parse_failure=on_failure,
        )
        reward = self.settings.parse_failure_reward if parsed.problem and not failed else 0.0
        record = self._record(
            "update",
            view,
            conversation,
            raw_reward=reward,
            shaped_reward=reward,
            hints=revision.text,
            hint_score=hint_score(view, revision.text, past),
            feedback=parsed.problem,
            format_error=bool(parsed.problem) and not failed,
            outcome=fault.kind if fault else parsed.outcome,
            failed=failed,
            fault=fault,
            weight_version=written.version,
            replies=(written.reply,),
            observations=(messages[-1]["content"],),
            performance=written.performance,
        )
        return record, revision

    async def _written(
        self, view: PolicyView, rollout: int, conversation: Conversation, messages: Sequence[Message]
    ) -> _Written:
        """What an update has brought: the model's reply, or what an agent program has kept."""
        try:
            if self.performer and self.performer.rewrites:
                found = await self.performer.rewrite(view, rollout, messages)
                parsed = as_hints(found.text, self.settings.max_chars)
                return _Written(parsed, found.text, performance=found.performance)
            generation = await self._ask("update", conversation, view, rollout, 0)
            reply = conversation.add_reply(generation.token_ids, generation.logprobs)
        except EngineError as error:
            return _Written(parse_update("", 0), fault=error.fault)
        parsed = self.settings.read_update(reply, view.hints)
        fault = fault_of(generation, reply) if parsed.problem else None
        return _Written(parsed, reply, fault, generation.weight_version)

    def _shaped(self, slot: Slot, episode: Episode) -> float:
        """The reward, less the turn penalty where it is positive."""
        own, asked = slot.family.turn_penalty, self.settings.turn_penalty
        usual = own if asked is None or not own else asked
        penalty = self.settings.turn_penalties.get(slot.family.name, usual) * episode.turns / episode.max_turns
        return max(0.0, episode.reward - penalty) if episode.reward > 0 else episode.reward

    async def _ask(
        self, kind: Kind, conversation: Conversation, view: PolicyView, rollout: int, turn: int
    ) -> Generation:
        settings = self.settings
        sampling = Sampling(
            settings.solve_tokens if kind == "solve" else settings.update_tokens,
            settings.temperature,
            self.chat.stop_ids,
            settings.top_p,
        )
        tag = RequestTag(view.pack.id, rollout, view.position, turn, kind)
        seed = derive_seed(self.seed, tag.pack, rollout, kind, tag.position, turn)

        async def ask(request: Request) -> Generation:
            timed = replace(tag, begin=request.begin, wait=request.wait)
            return await agent_of(self.engine).reply(view, conversation.prompt, sampling, seed=seed, tag=timed)

        return await self.requests.reply(ask, settings.deadline_s, str(tag))

    def _record(
        self,
        kind: Kind,
        view: PolicyView,
        conversation: Conversation,
        *,
        raw_reward: float,
        shaped_reward: float,
        hints: str,
        hint_score: HintScore,
        feedback: str,
        format_error: bool,
        outcome: str,
        failed: str,
        fault: ReplyFault | None,
        weight_version: int,
        replies: tuple[str, ...],
        observations: tuple[str, ...],
        actions: tuple[str, ...] = (),
        performance: Performance | None = None,
    ) -> EpisodeRecord:
        return EpisodeRecord(
            **conversation.arrays(),
            kind=kind,
            position=view.position,
            turn_ends=conversation.turn_ends,
            rendered=not self.chat.appends,
            raw_reward=raw_reward,
            shaped_reward=shaped_reward,
            turns=view.episode.turns if kind == "solve" else 1,
            hints=hints,
            hint_score=hint_score,
            feedback=feedback,
            format_error=format_error,
            outcome=outcome,
            failed=failed,
            fault=fault,
            weight_version=weight_version,
            replies=replies,
            observations=observations,
            actions=actions,
            performance=performance,
        )


def _failure(fault: ReplyFault | None) -> str:
    """Why an episode has no score; empty where it has one."""
    return (fault.words or FAULTS[fault.kind]) if fault and fault.kind in UNPLAYED else ""


async def _close(episode: Episode) -> None:
    """Let it give back what it holds elsewhere. What it did is known by now, so a failure is only logged."""
    try:
        async with asyncio.timeout(episode.deadline_s):
            await episode.close()
    except (TimeoutError, OSError) as error:
        log.warning("a world could not be closed: %s", " ".join(str(error).split()) or type(error).__name__)


@dataclass(frozen=True)
class _Written:
    """What an update has brought."""

    parsed: ParsedUpdate
    reply: str = ""
    fault: ReplyFault | None = None
    version: int = 0
    performance: Performance | None = None


@dataclass(frozen=True)
class Told:
    """What the agent learns of its own episode when it updates: the truth, unless the pack is poisoned."""

    episode: Episode
    turns: tuple[Turn, ...]


async def retold(
    slot: Slot, episode: Episode, record: EpisodeRecord, rendering: Rendering, past: Sequence[Episode] = ()
) -> Told:
    """An episode as it was or, with poison, what the same actions lead to in the slot's `reported_world`."""
    if slot.reported_world is None or episode.unreadable:
        pairs = zip(record.observations, record.replies, strict=False)  # the engine may have failed to reply
        return Told(episode, tuple(Turn(*turn) for turn in pairs))
    told = replace(slot, world=slot.reported_world).begin(rendering, past)
    turns: list[Turn] = []
    observation = told.observation
    try:
        for action in record.actions:
            if told.done:
                break
            # Without the reasoning, which may give the truth away.
            turns.append(Turn(observation, f"<answer>{action}</answer>"))
            observation = (await play_action(told, action)).observation
    except WorldError:
        pass
    finally:
        await _close(told)
    if not told.done:
        told.end(0.0, f"{observation}\nThe task was broken off here.")
    return Told(told, tuple(turns))


def hint_score(view: PolicyView, hints: str, past: Sequence[Episode]) -> HintScore:
    """Score hints against the pack's own world as it is at this position and what truly happened in it.

    A distractor is not what the hints are about: at its position they are scored against the world around it.
    """
    slots = view.pack.slots
    own = next(slot for slot in (*reversed(slots[: view.position + 1]), *slots) if not slot.distractor)
    return own.family.score_context(own.world, hints, remembered(view.pack, own, past))


async def play_all(
    player: Player, packs: Sequence[Pack], rollouts: int, at_once: int | None = None
) -> list[Trajectory]:
    """Play every pack `rollouts` times; trajectories come back in order (pack, rollout).

    Args:
        player: Plays.
        packs: What is played.
        rollouts: Of each pack.
        at_once: Most trajectories that are alive together; all by default.
    """
    gate = asyncio.Semaphore(at_once or max(1, len(packs) * rollouts))

    async def play(pack: Pack, rollout: int) -> Trajectory:
        async with gate:
            return await player.play(pack, rollout)

    return list(await asyncio.gather(*(play(pack, r) for pack in packs for r in range(rollouts))))
