"""Who plays a pack in a terminal: a person, a scripted policy or a model, each an agent of the rollout."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from codctl.cod.agent import Agent, agent_of
from codctl.cod.conversation import ByteChat, Chat
from codctl.cod.engine import Engine, EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import parse_answer, update_to
from codctl.cod.settings import RolloutSettings
from codctl.envs.base import Episode, Message, Policy, PolicyView, act_now
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
        system, *task = messages
        chat = [f"[{message['role']}] {message['content']}" for message in task]
        self.heard = [system["content"], "\n".join(chat) if len(chat) > 1 else task[0]["content"]]
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


class Seat(Agent):
    """An agent that shows what its player reads. Its replies come from `says`."""

    def __init__(self, say: Say, chat: Chat | None = None) -> None:
        self.chat = Ears(chat or ByteChat())
        self._say = say

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        self._show(view, tag)
        ids = self.chat.encode(self.says(view, tag, seed))
        return Generation(ids, [0.0] * len(ids), "stop", 0)

    def says(self, view: PolicyView, tag: RequestTag, seed: int) -> str:
        raise NotImplementedError

    def _show(self, view: PolicyView, tag: RequestTag) -> None:
        if tag.kind == "update":
            self._say(f"\n{ending(view.episode)}")
            return
        if view.episode.turns == 0:
            self._begin_task(view)
        self._show_turn()

    def _begin_task(self, view: PolicyView) -> None:
        self._say(f"\n=== task {view.position + 1} of {len(view.pack)} ({view.pack.id}) ===")

    def _show_turn(self) -> None:
        self._say("\n\n".join(self.chat.heard))


class ModelsSeat(Seat):
    """A person who gets exactly what a model gets."""

    def __init__(self, ask: Ask, say: Say) -> None:
        super().__init__(say)
        self._ask = ask
        self._left = False

    def _show(self, view: PolicyView, tag: RequestTag) -> None:
        if self._left:
            raise EngineError("the player left")
        super()._show(view, tag)

    def says(self, view: PolicyView, tag: RequestTag, seed: int) -> str:
        if tag.kind == "solve":
            answer = self._line("answer> ")
            return answer if "<answer>" in answer else f"<answer>{answer}</answer>"
        return self._hints(view)

    def _hints(self, view: PolicyView) -> str:
        kept = "Enter keeps them as they are" if view.hints else "Enter for none"
        hints = self._line(f"your hints for the next tasks ({kept})> ").strip()
        return update_to(hints or view.hints, view)

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

    def says(self, view: PolicyView, tag: RequestTag, seed: int) -> str:
        if tag.kind == "update":
            return self._hints(view)
        family = view.slot.family
        while True:
            typed = _TAGS.sub("", self._line(f"{family.asks}> ")).strip()
            if not typed:
                continue
            try:
                return f"<answer>{family.typed(view.episode, typed)}</answer>"
            except ValueError as problem:
                self._say(f"{problem}. Try again; {_KEYS}")

    def _show(self, view: PolicyView, tag: RequestTag) -> None:
        if self._left or tag.kind == "update" or view.episode.turns:
            super()._show(view, tag)
            return
        slot, pack = view.slot, view.pack
        parts = [] if self._explained else [f"{slot.family.title}\nPack {pack.id}, {counted(len(pack), 'task')}."]
        self._rules, self._quit = slot.family.rules(slot.preset), slot.family.quit_words
        if (kind := (slot.family.name, slot.preset)) not in self._explained:
            self._explained.add(kind)
            parts.append(self._rules)
            parts.append(
                "After each task you may write hints for the next ones. An answer that cannot be read is asked for "
                f"again (with --strict it ends the task). {_KEYS}"
            )
        parts.append(f"=== task {view.position + 1} of {len(pack)} ===")
        hints = [f"Your hints: {view.hints}\n"] if view.hints else []
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

    def says(self, view: PolicyView, tag: RequestTag, seed: int) -> str:
        rng = Random(seed)
        if tag.kind == "solve":
            reply = self._policy.solve(view, rng)
            self._say(f"> {' '.join(reply.split())}")
            return reply
        hints = self._policy.update(view, rng)
        self._say(f"hints> {' / '.join(hints.splitlines())}")
        return update_to(hints, view)


class WatchedSeat(Seat):
    """A model, watched: its own engine and chat do the work. Terse prompts come with boards as a person sees them."""

    def __init__(self, who: Engine | Agent, chat: Chat, settings: RolloutSettings, say: Say) -> None:
        super().__init__(say, chat)
        self._agent, self._settings = agent_of(who), settings
        self._twin: Episode | None = None  # the same episode in words,
        self._seen = ""  # and what it showed last

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        self._show(view, tag)
        try:
            made = await self._agent.reply(view, prompt_ids, sampling, seed=seed, tag=tag)
        except EngineError as error:
            self._say(f"(no reply: {error})")
            raise
        reply = self.chat.decode(made.token_ids).strip()
        written = " ".join(reply.split()) + (" … (cut off: all tokens spent)" if made.finish_reason == "length" else "")
        if tag.kind == "solve":
            self._say(f"writes> {written}")
            action = parse_answer(reply)
            if self._twin and not action.problem:
                self._seen = act_now(self._twin, action.action).observation
            return made
        update = self._settings.read_update(reply, view.hints)
        if update.problem:
            self._say(f"writes> {written}\n(no new hints: {update.problem}; the old ones stay)")
        else:
            if update.edits is not None:
                self._say(f"edits>  {' / '.join(update.edits.splitlines())}")
            self._say(f"hints>  {' / '.join(update.text.splitlines())}")
        return made

    def _begin_task(self, view: PolicyView) -> None:
        # Where nothing is drawn, the renderings may call things by other names.
        has_twin = view.rendering == "compact" and view.slot.family.colours and not view.episode.waits
        self._twin = view.slot.begin("full") if has_twin else None
        self._seen = self._twin.observation if self._twin else ""
        self._say(f"\n=== task {view.position + 1} of {len(view.pack)} ===")

    def _show_turn(self) -> None:
        if self._twin:
            self._say(self._seen)
            self._say("\n".join(f"reads>  {text}" for text in self.chat.heard))
        else:
            super()._show_turn()
