"""Trajectories in words: an index of them, one in full, one while it is played, and how the hints of a pack changed."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from codctl.cli import _output
from codctl.outcomes import WRITTEN
from codctl.quantities import counted, number, position, share
from codctl.report.story import difference
from codctl.results.agent_session import read_session
from codctl.results.agent_use import performance_words
from codctl.results.trajectory_file import TRAINING
from codctl.results.transcript import Turn

if TYPE_CHECKING:
    from pathlib import Path

    from rich.text import Text

    from codctl.envs.base import PolicyView
    from codctl.report.trajectory_sources import Source
    from codctl.results.selection import Chosen
    from codctl.results.trajectory_file import Transcript
    from codctl.results.transcript import EpisodeTranscript, Turn


_SOLVED, _FAILED, _UNPLAYED = "✓", "✗", "–"
_EDGE = {"prompt": ("│ ", "dim"), "reply": ("▌ ", "cyan"), "answer": ("→ ", "yellow"), "hint": ("  ", "")}
_STYLES = {"good": "green", "bad": "red", "head": "bold", "soft": "dim", "special": "magenta"}


def marks(transcript: Transcript) -> str:
    """A mark for each task: ✓✗✓✓."""
    return "".join(
        _UNPLAYED if episode.success is None else _SOLVED if episode.success else _FAILED
        for episode in transcript.solves
    )


def sources(found: Sequence[Source]) -> str:
    """What is stored of a run, a line for each file."""
    rows = [[one.name, one.step, "" if one.is_finished else "in progress"] for one in found]
    return _output.table(["source", "step", ""], rows)


def index(chosen: Sequence[Chosen], most: int) -> str:
    """A line for each of the first few trajectories."""
    rows, is_graded = [], any(one.raw_reward is not None for one in chosen[:most])
    for one in chosen[:most]:
        transcript = one.transcript
        others = Counter(episode.outcome for episode in one.episodes if episode.outcome not in ("solved", *WRITTEN))
        row = [transcript.pack, transcript.arm, _which(transcript), marks(transcript), number(one.score[1])]
        row += ["–" if one.raw_reward is None else number(one.raw_reward)] if is_graded else []
        rows.append([*row, ", ".join(f"{name} {count}" for name, count in others.most_common())])
    rewards = ["reward", "raw reward"] if is_graded else ["reward"]
    return _output.table(["pack", "arm", "", "tasks", *rewards, "did not succeed"], rows, cut_last=True)


def outcomes(chosen: Sequence[Chosen]) -> str:
    """How episodes ended, by arm and position."""
    counts: dict[tuple[str, str, int], Counter[str]] = {}
    for one in chosen:
        for episode in one.episodes:
            key = (one.transcript.arm, episode.kind, episode.position)
            counts.setdefault(key, Counter())[episode.outcome] += 1
    rows = [
        [arm, kind, position(place), sum(found.values()), ", ".join(f"{name} {n}" for name, n in found.most_common())]
        for (arm, kind, place), found in counts.items()
    ]
    return _output.table(["arm", "episode", "position", "played", "outcomes"], rows)


def in_full(chosen: Sequence[Chosen], sessions: Path | None = None) -> Text:
    """Trajectories with all that was said.

    Args:
        chosen: Which.
        sessions: The evaluation's folder, where the sessions of an agent program are to be shown as well.
    """
    from codctl.cli._rich import Words

    text = Words()
    for place, one in enumerate(chosen):
        if place:
            text.append("\n\n")
        _trajectory(text, one, sessions)
    return text


def over_steps(found: Sequence[tuple[Source, Transcript]]) -> Text:
    """The hints of one pack at each stored step, each compared with the same hint at the step before."""
    from codctl.cli._rich import Words

    text = Words()
    first = found[0][1]
    text.append(f"hints of {first.pack}, arm {first.arm}\n", _STYLES["head"])
    _truth(text, first.solves)
    earlier: dict[int, str] = {}
    for source, transcript in found:
        text.append(f"\n{source.title}", _STYLES["head"])
        text.append(f"  {marks(transcript)}\n")
        for episode in transcript.episodes:
            if episode.kind != "update":
                continue
            hints = episode.hints_after or ""
            text.append(f"after task {position(episode.position)}: {_score(episode)}\n", _STYLES["soft"])
            before = earlier.get(episode.position)
            _hints(text, hints, hints if before is None else before)
            earlier[episode.position] = hints
    text.right_crop(1)
    return text


def episode_head(episode: EpisodeTranscript, tasks: int) -> str:
    """What an episode was and how it ended."""
    place = position(episode.position)
    if episode.kind == "update":
        return f"update after task {place}: {episode.outcome}{_credit(episode)}"
    replies = counted(len(episode.turns), "turn")
    reward = "" if episode.reward is None else f", reward {share(episode.reward)}"
    reward += _raw(episode.raw_reward)
    return f"task {place} of {tasks}: {episode.outcome}, {replies}{reward}{_credit(episode)}"


def _raw(reward: float | None) -> str:
    """Of a graded family, beside the shaped reward."""
    return "" if reward is None else f", raw reward {share(reward)}"


def prompt(text: Text, said: Turn, specials: Sequence[str], *, number: int) -> None:
    """What the model read."""
    text.append(f"prompt {number}, {counted(said.prompt_tokens, 'token')}\n", _STYLES["soft"])
    _block(text, said.prompt, "prompt", specials)


def reply(text: Text, said: Turn, specials: Sequence[str]) -> None:
    """What it wrote, what was read from that, and what came back."""
    if said.reply is None:
        text.append("no reply came\n", _STYLES["bad"])
    else:
        text.append(f"reply, {counted(said.reply_tokens, 'token')}\n", _STYLES["soft"])
        _block(text, said.reply, "reply", specials)
        text.append("read: ", _STYLES["soft"])
        if said.read is None:
            text.append("nothing\n", _STYLES["bad"])
        else:
            text.append(f"{' / '.join(said.read.splitlines())}\n", _STYLES["good"])
    if said.answer:
        _block(text, said.answer, "answer", ())


def _session(text: Text, evaluation: Path, session: str) -> None:
    """What an agent program and its model said."""
    found = read_session(evaluation, session)
    if found is None:
        text.append(f"nothing is left of its session {session}\n", _STYLES["soft"])
        return
    tools = f", tools {', '.join(found.tools)}" if found.tools else ""
    text.append(f"the agent's own session, {counted(found.exchanges, 'exchange')}{tools}\n", _STYLES["head"])
    for said in found.messages:
        text.append(f"{said.role}\n", _STYLES["soft"])
        _block(text, said.text, "reply" if said.role == "assistant" else "prompt", ())


def _trajectory(text: Text, chosen: Chosen, sessions: Path | None) -> None:
    transcript = chosen.transcript
    solved, reward = chosen.score
    tasks = len(transcript.solves)
    text.append(f"{transcript.pack}", _STYLES["head"])
    text.append(f"  {', '.join(filter(None, (f'arm {transcript.arm}', _which(transcript))))}  {marks(transcript)}")
    text.append(f"  {solved:g} of {tasks} solved, reward {share(reward)}{_raw(chosen.raw_reward)}\n")
    _truth(text, transcript.solves)
    for episode in chosen.episodes:
        style = _STYLES["good" if episode.outcome in ("solved", *WRITTEN) else "bad"]
        text.append("\n")
        text.append(f"━━ {episode_head(episode, tasks)}\n", f"bold {style}")
        if episode.performance:
            text.append(f"{performance_words(episode.performance)}\n", _STYLES["soft"])
        if episode.words:
            text.append(f"the server said: {episode.words}\n", _STYLES["bad"])
        if episode.kind == "solve":
            text.append(f"hints in force: {_score(episode)}\n", _STYLES["soft"])
            _hints(text, episode.hints_before, episode.hints_before)
        for count, said in enumerate(episode.turns, start=1):
            prompt(text, said, episode.specials, number=count)
            reply(text, said, episode.specials)
        if sessions and episode.performance:
            _session(text, sessions, episode.performance.session)
        if episode.kind == "update":
            changed = "changed" if episode.hints_after != episode.hints_before else "unchanged"
            text.append(f"hints, {changed}: {_score(episode)}\n", _STYLES["soft"])
            _hints(text, episode.hints_after or "", episode.hints_before)
    text.right_crop(1)


def _truth(text: Text, solves: Sequence[EpisodeTranscript]) -> None:
    for truth in dict.fromkeys(episode.truth for episode in solves):
        text.append("truth: ", _STYLES["soft"])
        lines = (line.removeprefix("- ") for line in truth.splitlines())
        text.append(f"{' '.join(lines) or 'nothing is hidden'}\n")


def _hints(text: Text, new: str, old: str) -> None:
    """Hints, with what they have and lack against others marked: [-dropped-] {+new+}."""
    edge, _ = _EDGE["hint"]
    if not new and not old:
        text.append(f"{edge}(none)\n", _STYLES["soft"])
        return
    if new == old:
        _block(text, new, "hint", ())
        return
    text.append(edge)
    for piece in difference(old, new):
        words = piece.text if piece.kind == "same" else piece.word
        words = words.replace("\n", f"\n{edge}")
        if piece.kind == "ins":
            words, style = f"{{+{words}+}}", _STYLES["good"]
        elif piece.kind == "del":
            words, style = f"[-{words}-]", _STYLES["bad"]
        else:
            style = ""
        text.append(words, style)
        if piece.kind != "same":
            text.append(piece.space.replace("\n", f"\n{edge}"))
    text.rstrip()
    text.append("\n")


def _block(text: Text, said: str, what: str, specials: Sequence[str]) -> None:
    """Text behind an edge, with special tokens in a colour of their own."""
    edge, style = _EDGE[what]
    for line in said.rstrip("\n").split("\n"):
        text.append(edge, style)
        for piece, is_special in _pieces(line, specials):
            text.append(piece, _STYLES["special"] if is_special else "dim" if what == "prompt" else "")
        text.append("\n")


def _pieces(line: str, specials: Sequence[str]) -> Iterator[tuple[str, bool]]:
    if not specials:
        yield line, False
        return
    pattern = "|".join(re.escape(special) for special in sorted(specials, key=len, reverse=True))
    for place, piece in enumerate(re.split(f"({pattern})", line)):
        if piece:
            yield piece, bool(place % 2)


def _which(transcript: Transcript) -> str:
    """What tells a trajectory from others of its pack and arm."""
    if transcript.arm == TRAINING:
        return f"rollout {transcript.rollout}"
    return ", ".join(filter(None, (transcript.part, f"seed {transcript.seed}" if transcript.seed else "")))


def _credit(episode: EpisodeTranscript) -> str:
    if episode.credit_advantage is None or episode.credit_return is None:
        return ""
    return f", return {share(episode.credit_return)}, advantage {episode.credit_advantage:+.2f}"


def _score(episode: EpisodeTranscript) -> str:
    knowable = f"{episode.hint_knowable_right} of {episode.hint_knowable} that could be known"
    counts = f"{episode.hint_right} right, {episode.hint_wrong} wrong, {episode.hint_missing} missing ({knowable})"
    detail = (f"{name.replace('_', ' ')} {number(value)}" for name, value in episode.hint_detail.items())
    return "; ".join([counts, *detail])


class Shown:
    """Texts of a watched pack, in colour where stderr shows it."""

    def trajectory(self, arm: str, pack: str) -> str:
        return _text(lambda text: text.append(f"\n{pack}, arm {arm}", "bold"))

    def episode(self, kind: str, view: PolicyView) -> str:
        place = position(view.position)
        of_tasks = f"task {place} of {len(view.pack)}"
        return _text(
            lambda text: text.append(f"\n━━ {of_tasks if kind == 'solve' else f'update after task {place}'}", "bold")
        )

    def prompt(self, turn: Turn, specials: Sequence[str], number: int) -> str:
        return _text(lambda text: prompt(text, turn, specials, number=number))

    def reply(self, turn: Turn, specials: Sequence[str], *, was_cut: bool) -> str:
        def write(text: Text) -> None:
            reply(text, turn, specials)
            if was_cut:
                text.append("cut off: the reply used all of its tokens", "red")

        return _text(write)

    def end(self, feedback: str, reward: float) -> str:
        return _text(lambda text: text.append(f"→ {feedback} Reward {reward:g}.", "bold"))


def _text(write: Callable[[Text], object]) -> str:
    from codctl.cli import _rich

    text = _rich.Words()
    write(text)
    text.rstrip()
    return _rich.as_text(text) if _output.use_colour(sys.stderr) else text.plain
