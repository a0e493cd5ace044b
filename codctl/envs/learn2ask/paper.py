"""The variant `paper`: real dialogues from the user's file, and a judge for the questions.

Nothing is hidden and shared in a pack; what may carry over is a habit of asking and stopping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering, Step, undecorated
from codctl.envs.learn2ask import paper_text
from codctl.envs.learn2ask.data import Dialogues, Row, read_dialogues
from codctl.envs.learn2ask.family import Learn2Ask
from codctl.envs.learn2ask.judge import JUDGES, Judge, RuleJudge, Verdict
from codctl.envs.learn2ask.options import JudgeOptions, PaperOptions, read_options
from codctl.envs.learn2ask.scoring import WRONG, Fusion, Scores, reward
from codctl.envs.learn2ask.stop import STOP_TAG, as_tag
from codctl.envs.learn2ask.world import SOLVED
from codctl.envs.solve_prompt import ReplyForm
from codctl.errors import PreflightError

_MOST_DRAWS = 100  # for each task of a pack, until rows may repeat


@dataclass(frozen=True, eq=False)
class PaperWorld:
    """Nothing is hidden. `split` tells demonstrations, which the rule judges: they need no server."""

    split: str


@dataclass(frozen=True)
class PaperTask:
    """One dialogue up to the doctor's next turn."""

    row: Row


class PaperEpisode(Episode):
    """One turn of the doctor: a question, or the end.

    Attributes:
        reply: What was said.
        scores: What it got; None until it is over.
    """

    def __init__(self, task: PaperTask, fusion: Fusion, rendering: Rendering) -> None:
        self.task, self.rendering = task, rendering
        self._fusion = fusion
        self.reply = ""
        self.scores: Scores | None = None
        super().__init__(1)
        self.observation = paper_text.observation(task.row)
        self.opening = paper_text.opening(task.row)

    def _decided(self, action: str) -> Step | None:
        """The end of an episode that needs no judge; None where a question is to be judged."""
        if self.done:
            raise ValueError("the episode is over")
        self.turns += 1
        self.reply = action
        ends = STOP_TAG in action
        if ends is not (self.task.row.decision == "stop"):
            return self._over(WRONG, None, lost="early" if ends else "late")
        if ends:
            return self._over(Scores(1.0, 1.0, float(action.strip() == STOP_TAG)), None, lost="form")
        return None

    def _judged(self, verdict: Verdict) -> Step:
        scores = Scores(1.0, verdict.content, verdict.form)
        return self._over(scores, verdict, lost="form" if verdict.content == 1 else "beside")

    def _over(self, scores: Scores, verdict: Verdict | None, lost: str) -> Step:
        self.scores = scores
        gained = reward(scores, self._fusion)
        said = paper_text.feedback(scores, verdict, ended=STOP_TAG in self.reply)
        info = {"row": self.task.row.id, **vars(scores)}
        return self.end(gained, said, info, lost=lost, solved=gained >= SOLVED)

    def transcript(self) -> str:
        return paper_text.transcript(self.task.row, self.reply, self.rendering)


class RuledEpisode(PaperEpisode):
    """Questions are judged by the rule, at once."""

    def act(self, action: str) -> Step:
        return self._decided(action) or self._judged(RULE.verdict(self.task.row, action))


class JudgedEpisode(PaperEpisode):
    """Questions are judged by a judge that takes its time."""

    def __init__(self, task: PaperTask, fusion: Fusion, judge: Judge, rendering: Rendering) -> None:
        super().__init__(task, fusion, rendering)
        self._judge, self.deadline_s = judge, judge.deadline_s

    async def act(self, action: str) -> Step:
        return self._decided(action) or self._judged(await self._judge.judge(self.task.row, action))


RULE = RuleJudge(JudgeOptions())


class PaperLearn2Ask(Learn2Ask):
    """The family as the options of a world entry set it up."""

    def __init__(self, options: PaperOptions, dialogues: Dialogues, judge: Judge) -> None:
        self.settings, self.dialogues, self.judge = options, dialogues, judge
        self.options = options.model_dump(mode="json", exclude_unset=True)
        self._rows = {split: dialogues.split(split, options.held_out) for split in ("train", "validation", "test")}
        self._rows["demonstration"] = self._rows["train"]
        # Each of the others asks the judge for every question that it plays: only a rule does that for nothing.
        self.policies = tuple(POLICIES) if not judge.waits else ("stop", "random")

    def in_variant(self, variant: str) -> Family:
        return self if variant == "paper" else Learn2Ask()

    def edition(self, preset: str, variant: str) -> int:
        """Made of the file's hash: another content means other results."""
        return 1 if variant != "paper" else 2 + int(self.dialogues.sha256[:12], 16)

    def draw(self, split: str, index: int, length: int, preset: str, variant: str) -> tuple[Any, Sequence[Any]]:
        rng = Random(self.pack_seed(split, index, preset, "paper"))
        rows = self._rows_of(split)
        return PaperWorld(split), [PaperTask(rows[number]) for number in _draws(rng, len(rows), length)]

    def _rows_of(self, split: str) -> tuple[Row, ...]:
        rows = self._rows[split]
        if not rows:
            raise PreflightError(
                f"the split {split} has none of the {len(self.dialogues.rows)} dialogues",
                where=self.settings.data,
                hint="sessions are split eight to one to one: use a file with more of them",
            )
        return rows

    async def probe(self) -> None:
        await self.judge.probe()

    def begin(self, world: Any, task: Any, rendering: Rendering) -> Any:
        if world.split == "demonstration" or type(self.judge) is RuleJudge:
            return RuledEpisode(task, self.settings.fusion, rendering)
        return JudgedEpisode(task, self.settings.fusion, self.judge, rendering)

    def redraw(self, world: Any, rng: Random) -> Any:
        return world

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return paper_text.rules(self.settings.fusion)

    def reply_form(self, preset: str) -> ReplyForm:
        return paper_text.FORM

    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        return super().solve_prompt(hints, "full", preset)  # it has no other

    def facts(self, world: Any) -> int:
        return 0

    def truth(self, world: Any, rendering: Rendering) -> str:
        return ""

    def partial_truth(self, world: Any, rendering: Rendering, rng: Random) -> str:
        return ""

    def score_context(self, world: Any, hints: str, seen: Sequence[Episode]) -> HintScore:
        return HintScore(0, 0, 0, 0, 0)

    def answered(self, episode: Episode, action: str) -> str:
        plain = undecorated(as_tag(action))
        return plain if plain == STOP_TAG else action

    def policy(self, name: str, **options: float) -> Policy:
        if name == "demonstrator":
            return Knows()
        if name in POLICIES and name in self.policies:
            return POLICIES[name]()
        return super().policy(name, **options)


def _draws(rng: Random, count: int, length: int) -> list[int]:
    """Different rows as long as there are enough; a shorter list is a prefix of a longer one."""
    drawn: list[int] = []
    for _ in range(length):
        number = rng.randrange(count)
        for _ in range(_MOST_DRAWS if len(drawn) < count else 0):
            if number not in drawn:
                break
            number = rng.randrange(count)
        drawn.append(number)
    return drawn


class _Notes:
    """What a policy writes as hints: nothing is hidden here."""

    def update(self, view: PolicyView, rng: Random) -> str:
        return "none" if view.rendering == "compact" else "Nothing to note."


class Knows(_Notes):
    """Does what the doctor did, and asks for the first thing that the doctor went on to ask."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        row: Row = view.slot.task.row
        if row.decision == "stop":
            return f"<answer>{STOP_TAG}</answer>"
        return f"<answer>Could you tell me more about this: {row.facts[0].rstrip('?')}?</answer>"


class Stops(_Notes):
    """Always stops."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return f"<answer>{STOP_TAG}</answer>"


class Asks(_Notes):
    """Always asks one and the same question."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return "<answer>What else do you feel, and how strong is it?</answer>"


class Guesses(_Notes):
    """Stops or asks, as a coin falls."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return (Stops() if rng.random() < 0.5 else Asks()).solve(view, rng)


POLICIES: dict[str, type[Policy]] = {"informed": Knows, "stop": Stops, "ask": Asks, "random": Guesses}


def configured(options: Mapping[str, Any]) -> PaperLearn2Ask:
    """The family with these options. Files are read; nothing is contacted.

    Raises:
        UsageError: An option is unknown or wrong.
        PreflightError: The data cannot be used.
    """
    read = read_options(options)
    path = Path(read.data)
    try:
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    except OSError:
        stamp = (0, 0, 0)
    return _configured(read.model_dump_json(exclude_unset=True), stamp)


@lru_cache(maxsize=8)  # a file is read once, and a judge keeps its connections
def _configured(options: str, stamp: tuple[int, int, int]) -> PaperLearn2Ask:
    read = PaperOptions.model_validate_json(options)
    judge = JUDGES.get(read.judge.kind)(read.judge)
    return PaperLearn2Ask(read, read_dialogues(Path(read.data), read.sha256), judge)
