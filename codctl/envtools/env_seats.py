"""Who plays a pack in a terminal: a person, a scripted policy or a model. To the rollout each of them is an engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from codctl.cod.context import parse_update
from codctl.cod.conversation import ByteChat, Chat
from codctl.cod.engine import Asker, Engine, EngineError, Generation, Sampling, Weights
from codctl.cod.prompts import Message, parse_answer, update_reply
from codctl.envs.base import Episode, Policy, Situation
from codctl.quantities import counted

Say = Callable[[str], None]
Ask = Callable[[str], str | None]  # None when the person has left

_HELP = ("?", "help")
_KEYS = "? shows the rules again, quit stops."
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?|[\x00-\x08\x0b-\x1f\x7f]")  # arrow keys and the like
_TAGS = re.compile(r"</?answer>", re.IGNORECASE)


def ending(episode: Episode) -> str:
    return f"{episode.feedback} Reward {episode.reward:g}."


class Ears:
    """A chat that keeps the newest texts of a conversation, as they are."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.stop_ids, self.appends = chat.stop_ids, chat.appends
        self.heard: list[str] = []

    def open(self, messages: Sequence[Message]) -> list[int]:
        self.heard = [message["content"] for message in messages]
        return self._chat.open(messages)

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        self.heard = [text]
        return self._chat.follow_up(text, ended_by=ended_by)

    def reply(self, text: str) -> list[int]:
        return self._chat.reply(text)

    def encode(self, text: str) -> list[int]:
        return self._chat.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._chat.decode(ids)

    def show(self, ids: Sequence[int]) -> str:
        return self._chat.show(ids)

    def specials(self, ids: Sequence[int]) -> list[str]:
        return self._chat.specials(ids)


class Seat:
    """An engine that shows what its player reads. Its replies come from `reply`."""

    def __init__(self, say: Say, chat: Chat | None = None) -> None:
        self.chat = Ears(chat or ByteChat())
        self._say = say

    def take_seat(self) -> None: ...

    def leave_seat(self) -> None: ...

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        self._show(asker)
        ids = self.chat.encode(self.reply(asker, seed))
        return Generation(ids, [0.0] * len(ids), "stop", 0)

    def reply(self, asker: Asker, seed: int) -> str:
        raise NotImplementedError

    def _show(self, asker: Asker) -> None:
        situation = asker.situation
        if asker.kind == "update":
            self._say(f"\n{ending(situation.episode)}")
            return
        if situation.episode.turns == 0:
            self._begin_task(situation)
        self._show_turn()

    def _begin_task(self, situation: Situation) -> None:
        self._say(f"\n=== task {situation.position + 1} of {len(situation.pack)} ({situation.pack.id}) ===")

    def _show_turn(self) -> None:
        self._say("\n\n".join(self.chat.heard))


class ModelsSeat(Seat):
    """A person who gets exactly what a model gets."""

    def __init__(self, ask: Ask, say: Say) -> None:
        super().__init__(say)
        self._ask = ask
        self._left = False

    def _show(self, asker: Asker) -> None:
        if self._left:
            raise EngineError("the player left")
        super()._show(asker)

    def reply(self, asker: Asker, seed: int) -> str:
        if asker.kind == "solve":
            answer = self._line("answer> ")
            return answer if "<answer>" in answer else f"<answer>{answer}</answer>"
        return self._hints(asker.situation)

    def _hints(self, situation: Situation) -> str:
        kept = "Enter keeps them as they are" if situation.hints else "Enter for none"
        hints = self._line(f"your hints for the next tasks ({kept})> ").strip()
        return update_reply(hints or situation.hints, situation.rendering)

    def _line(self, question: str) -> str:
        answer = self._ask(question)
        if answer is None:
            self._leave()
        # What a terminal could not decode arrives as half characters, which no text may hold.
        return str(answer).encode(errors="replace").decode()

    def _leave(self) -> None:
        self._left = True
        raise EngineError("the player left")


class PersonsSeat(ModelsSeat):
    """A person at a keyboard: the rules once, any case, and what cannot be read is asked for again."""

    def __init__(self, ask: Ask, say: Say) -> None:
        super().__init__(ask, say)
        self._explained = set[tuple[str, str]]()
        self._rules = ""
        self._quit: tuple[str, ...] = ("quit",)

    def reply(self, asker: Asker, seed: int) -> str:
        situation = asker.situation
        if asker.kind == "update":
            return self._hints(situation)
        family = situation.slot.family
        while True:
            typed = _TAGS.sub("", self._line(f"{family.asks}> ")).strip()
            if not typed:
                continue
            try:
                return f"<answer>{family.typed(situation.episode, typed)}</answer>"
            except ValueError as problem:
                self._say(f"{problem}. Try again; {_KEYS}")

    def _show(self, asker: Asker) -> None:
        situation = asker.situation
        if self._left or asker.kind == "update" or situation.episode.turns:
            super()._show(asker)
            return
        slot, pack = situation.slot, situation.pack
        parts = [] if self._explained else [f"{slot.family.title}\nPack {pack.id}, {counted(len(pack), 'task')}."]
        self._rules, self._quit = slot.family.rules(slot.preset), slot.family.quit_words
        if (kind := (slot.family.name, slot.preset)) not in self._explained:
            self._explained.add(kind)
            parts.append(self._rules)
            parts.append(
                "After each task you may write hints for the next ones. An answer that cannot be read is asked for "
                f"again (with --strict it ends the task). {_KEYS}"
            )
        parts.append(f"=== task {situation.position + 1} of {len(pack)} ===")
        hints = [f"Your hints: {situation.hints}\n"] if situation.hints else []
        self._say("\n" + "\n\n".join(parts))
        self._say("\n".join([*hints, self.chat.heard[-1]]))

    def _line(self, question: str) -> str:
        while True:
            answer = _ESCAPES.sub("", super()._line(question))
            if answer.strip().lower() in self._quit:
                self._leave()
            if answer.strip().lower() not in _HELP:
                return answer
            self._say(f"{self._rules}\n\n{_KEYS}")


class PolicysSeat(Seat):
    """A scripted policy, watched."""

    def __init__(self, policy: Policy, say: Say) -> None:
        super().__init__(say)
        self._policy = policy

    def reply(self, asker: Asker, seed: int) -> str:
        rng = Random(seed)
        if asker.kind == "solve":
            reply = self._policy.solve(asker.situation, rng)
            self._say(f"> {' '.join(reply.split())}")
            return reply
        hints = self._policy.update(asker.situation, rng)
        self._say(f"hints> {' / '.join(hints.splitlines())}")
        return update_reply(hints, asker.situation.rendering)


class WatchedSeat(Seat):
    """A model, watched: its own engine and chat do the work. Terse prompts come with boards as a person sees them."""

    def __init__(self, engine: Engine, chat: Chat, max_chars: int, say: Say) -> None:
        super().__init__(say, chat)
        self._engine, self._max_chars = engine, max_chars
        self._twin: Episode | None = None  # the same episode in words,
        self._seen = ""  # and what it showed last

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        self._show(asker)
        try:
            made = await self._engine.generate(prompt_ids, sampling, seed=seed, asker=asker)
        except EngineError as error:
            self._say(f"(no reply: {error})")
            raise
        reply = self.chat.decode(made.token_ids).strip()
        written = " ".join(reply.split()) + (" … (cut off: all tokens spent)" if made.finish_reason == "length" else "")
        if asker.kind == "solve":
            self._say(f"writes> {written}")
            action = parse_answer(reply)
            if self._twin and not action.problem:
                self._seen = self._twin.act(action.action).observation
            return made
        update = parse_update(reply, self._max_chars)
        if update.problem:
            self._say(f"writes> {written}\n(no new hints: {update.problem}; the old ones stay)")
        else:
            self._say(f"hints>  {' / '.join(update.text.splitlines())}")
        return made

    def _begin_task(self, situation: Situation) -> None:
        # Where nothing is drawn, the renderings may call things by other names.
        has_twin = situation.rendering == "compact" and situation.slot.family.colours
        self._twin = situation.slot.begin("full") if has_twin else None
        self._seen = self._twin.observation if self._twin else ""
        self._say(f"\n=== task {situation.position + 1} of {len(situation.pack)} ===")

    def _show_turn(self) -> None:
        if self._twin:
            self._say(self._seen)
            self._say("\n".join(f"reads>  {text}" for text in self.chat.heard))
        else:
            super()._show_turn()
