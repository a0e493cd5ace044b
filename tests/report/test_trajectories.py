"""What was said is stored token for token, found again, selected, and shown without being obeyed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codctl.cli import _trajectory_text
from codctl.cli._trajectory_text import Shown as ShownLive
from codctl.cod.conversation import ByteChat
from codctl.cod.credit import EpisodeCredit
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.references import play_policy, reference_player
from codctl.cod.rollout import Player
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Family, Pack
from codctl.envs.registry import get_family
from codctl.errors import UsageError
from codctl.evaluate.runner import play
from codctl.evaluate.watched import Watch
from codctl.report import trajectories_page
from codctl.report.trajectories_page import Shown
from codctl.results import trajectory_file
from codctl.results.journal import FileJournal
from codctl.results.selection import Chosen, Selection, ranked
from codctl.results.trajectory_file import Transcript
from codctl.results.transcript import EpisodeTranscript, packed, transcribe, unpacked
from tests.example_world.dial import Dial

CHAT = ByteChat()
FAMILY = get_family("frozen_lake")
HOSTILE = (
    "</script><img src=x onerror=alert(1)> \x1b[2J\x1b]0;title\x07 \x9b31m \u202etxt.exe \ud800 <!-- ]]> {{ 7*7 }}"
)


def pack(length: int = 2) -> Pack:
    return FAMILY.pack("test", 0, length, "tiny")


class Says:
    """An engine with one reply to everything; None for no reply at all."""

    def __init__(self, reply: Callable[[RequestTag], str | None]) -> None:
        self._reply = reply

    def open_session(self) -> None: ...

    def close_session(self) -> None: ...

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        reply = self._reply(tag)
        if reply is None:
            raise EngineError("the server is gone")
        ids = [*CHAT.encode(reply), 256]
        return Generation(ids, [-1.0] * len(ids), "stop", 3)

    async def aclose(self) -> None: ...


def played(reply: Callable[[RequestTag], str | None]) -> Trajectory:
    player = Player(Says(reply), CHAT, RolloutSettings("compact"), 0)  # type: ignore[arg-type]
    return asyncio.run(player.play(pack(), 0))


def transcript(reply: str = "x", **head: Any) -> Transcript:
    """A trajectory of one task whose texts are all `reply`."""
    [episode, *_] = transcribe(played(lambda _tag: "<answer> up: K </answer>"), pack(), CHAT, "compact")
    turns = (replace(episode.turns[0], prompt=reply, reply=reply, read=reply, answer=reply),)
    texts = dict.fromkeys(("words", "feedback", "task", "truth", "hints_before"), reply)
    body = replace(episode, turns=turns, specials=("<|end|>",), **texts)
    known = {"part": "", "arm": "own", "seed": 0, "number": 0, "pack": "lake/tiny/test/0", "rollout": 0}
    return Transcript(**{**known, **head}, episodes=(body, replace(body, kind="update", hints_after=reply + " new")))


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_every_token_of_every_prompt_and_reply_is_kept() -> None:
    [trajectory] = play_policy("bayes", [pack(3)], "full", 0)
    episodes = transcribe(trajectory, pack(3), CHAT, "full")
    assert [(e.kind, e.position) for e in episodes] == [(e.kind, e.position) for e in trajectory.episodes]
    for kept, record in zip(episodes, trajectory.episodes, strict=True):
        assert "".join(turn.prompt + (turn.reply or "") for turn in kept.turns) == CHAT.show(record.ids.tolist())
        assert sum(turn.prompt_tokens + turn.reply_tokens for turn in kept.turns) == len(record.ids)
        assert len(kept.turns) == len(record.replies)
    first, update, *_ = episodes
    assert first.turns[0].prompt.startswith("You walk on a frozen lake")
    assert [f"<answer>{turn.read}</answer>" in str(turn.reply) for turn in first.turns] == [True] * len(first.turns)
    assert first.turns[-1].answer == first.feedback
    assert update.turns[0].read == update.hints_after
    assert first.truth
    assert first.task


def test_a_reply_that_is_unreadable_or_never_came_reads_as_nothing() -> None:
    solve, update, lost = transcribe(played(lambda tag: None if tag.position else "I go up."), pack(), CHAT, "compact")
    assert [(turn.reply, turn.read) for turn in solve.turns] == [("I go up.", None)]
    assert (solve.outcome, update.outcome, update.turns[0].read) == ("no_answer", "no_hints", None)
    assert "could not be used" in solve.turns[0].answer
    assert (lost.outcome, lost.success, lost.reward, lost.turns[0].reply) == ("lost", None, None, None)
    assert lost.turns[0].prompt


def test_credit_is_kept_where_there_is_any() -> None:
    [trajectory] = play_policy("bayes", [pack()], "compact", 0)
    credit = [EpisodeCredit(float(n), 0.5, -1.0) for n in range(3)]
    found = list(trajectory_file.of_step("training", [pack()], [trajectory], credit, CHAT, "compact"))
    assert [episode.credit_return for episode in found[0].episodes] == [0.0, 1.0, 2.0]
    assert found[0].episodes[0].credit_advantage == -1.0
    assert not list(trajectory_file.of_step("training", [], [trajectory], credit, CHAT, "compact"))


def stored(family: Family, path: Path) -> Transcript:
    """One pack of two tasks, from its file."""
    asked = family.pack("test", 1, 2, "tiny")
    [trajectory] = play_policy("bayes", [asked], "compact", 0)
    [told] = trajectory_file.of_step("own", [asked], [trajectory], (), CHAT, "compact")
    trajectory_file.write(path, [told], graded=family.graded)
    [read] = trajectory_file.read(path)
    assert read == told
    assert tuple(unpacked(packed(told.episodes))) == told.episodes
    return read


def test_raw_rewards_and_numbers_about_hints_are_kept_and_shown_where_a_family_is_graded(tmp_path: Path) -> None:
    told = stored(Dial(), path := tmp_path / "trajectories.parquet")
    assert [(e.raw_reward, e.hint_detail) for e in told.episodes] == [
        (pytest.approx(0.4), {}),
        (None, {"levels_off": 2.0}),
        (1.0, {"levels_off": 2.0}),
    ]
    assert {"raw_reward", "hint_detail"} <= set(pq.read_schema(path).names)
    shown = _trajectory_text.in_full([Chosen(told, told.episodes)]).plain
    for what in ("1 of 2 solved, reward 1.40, raw reward 1.40", "turns, 1 turn, reward 0.40, raw reward 0.40"):
        assert what in shown
    assert shown.count("; levels off 2\n") == 2
    assert "raw reward" in _trajectory_text.index([Chosen(told, told.episodes)], 1)
    page = data_of(trajectories_page.render("t", [Shown("own", None, told)]).html)
    assert [(e.get("raw_reward"), "hint_detail" in e) for e in page["trajectories"][0]["episodes"]] == [
        (pytest.approx(0.4), False),
        (None, True),
        (1.0, True),
    ]


def test_nothing_of_it_is_kept_or_shown_in_other_families(tmp_path: Path) -> None:
    told = stored(FAMILY, path := tmp_path / "trajectories.parquet")
    page = data_of(trajectories_page.render("t", [Shown("own", None, told)]).html)
    for episode in (told.episodes[0].as_dict(), *page["trajectories"][0]["episodes"]):
        assert not {"raw_reward", "hint_detail"} & set(episode)
    assert not {"raw_reward", "hint_detail"} & set(pq.read_schema(path).names)
    chosen = [Chosen(told, told.episodes)]
    assert "raw" not in _trajectory_text.in_full(chosen).plain + _trajectory_text.index(chosen, 1)


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_give_back_what_was_stored(tmp_path: Path) -> None:
    stored = [transcript(HOSTILE.replace("\ud800", ""), number=n, arm=arm) for arm in ("own", "none") for n in range(3)]
    path = tmp_path / "new" / "trajectories.parquet"
    trajectory_file.write(path, stored)
    assert list(trajectory_file.read(path)) == stored
    assert unpacked(packed(stored[0].episodes)) == list(stored[0].episodes)
    trajectory_file.write(path, [])
    assert not list(trajectory_file.read(path))


def test_a_file_of_a_later_version_and_a_foreign_one_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "trajectories.parquet"
    with monkeypatch.context() as later:
        later.setattr(trajectory_file, "SCHEMA", 2)
        trajectory_file.write(path, [transcript()])
    with pytest.raises(UsageError, match="a later codctl wrote it"):
        list(trajectory_file.read(path))
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(UsageError, match="holds no trajectories"):
        list(trajectory_file.read(path))
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(UsageError, match="cannot be read"):
        list(trajectory_file.read(path))


def test_an_evaluation_in_progress_is_read_from_its_journal(tmp_path: Path) -> None:
    spec = EvalSpec(preset="tiny", rendering="compact", packs=3, length=2, arms=("own", "none"))
    path = tmp_path / "journal.jsonl"
    with FileJournal(path, "digest") as journal:
        player = reference_player("bayes", "compact", 0)
        asyncio.run(play(player, spec, journal, lambda *_: None, stored_packs=2))
        whole = list(trajectory_file.of_parts([spec], journal))
    with path.open("ab") as file:
        file.write(b'{"unit": ["torn')
    assert {(one.arm, one.number) for one in whole} == {
        (arm, number) for arm in ("own", "none", "bayes", "informed") for number in range(2)
    }
    assert sorted(trajectory_file.of_journal(path), key=str) == sorted(whole, key=str)


# --- selection --------------------------------------------------------------------------------------------------------


def test_episodes_are_selected_by_what_they_are() -> None:
    won, lost = transcript(number=0), transcript("UP", number=11, pack="lake/tiny/test/11", arm="none")
    lost = replace(lost, episodes=(replace(lost.episodes[0], outcome="no_answer", success=0.0), lost.episodes[1]))
    won = replace(won, episodes=(replace(won.episodes[0], outcome="solved", success=1.0), won.episodes[1]))
    both = [won, lost]

    def selected(**wanted: Any) -> list[tuple[str, int]]:
        return [(one.transcript.arm, len(one.episodes)) for one in Selection(**wanted).of(both)]

    assert selected() == [("own", 2), ("none", 2)]
    assert selected(arms=("none",)) == selected(packs=("11",)) == selected(packs=(lost.pack,)) == [("none", 2)]
    assert selected(outcomes=("unreadable",)) == selected(outcomes=("no_answer",)) == [("none", 1)]
    assert selected(outcomes=("solved",)) == [("own", 1)]
    assert selected(search="up") == [("none", 2)]
    assert selected(positions=(1,)) == []
    assert ranked(Selection().of(both), "best").transcript is won
    assert ranked(Selection().of(both), "worst").transcript is lost
    with pytest.raises(UsageError, match=r"no outcome 'hole'; stored: .*no_answer \(1\)"):
        selected(outcomes=("hole",))
    with pytest.raises(UsageError, match="no pack '7'; stored: lake/tiny/test/0 to lake/tiny/test/11"):
        selected(packs=("7",))


# --- shown, never obeyed ----------------------------------------------------------------------------------------------


def data_of(page: str) -> dict[str, Any]:
    [packed_data] = re.findall(r'<pre id="data" hidden>([A-Za-z0-9+/=]*)</pre>', page)
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed_data)))
    return found


def test_hostile_texts_are_only_text_on_page_and_terminal() -> None:
    hostile = transcript(HOSTILE)
    page = trajectories_page.render(HOSTILE, [Shown("after", 3, hostile)]).html
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img" not in page
    text = _trajectory_text.in_full(Selection().of([hostile])).plain
    for shown in (page, text, *data_of(page)["texts"]):
        controls = {c for c in shown if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\ud800"}
        assert not controls, shown[:80]
    assert r"\x1b[2J" in text
    assert r"\u202etxt.exe" in text
    assert r"\x9b31m" in data_of(page)["texts"][0]


def test_a_page_needs_no_network_and_runs_only_its_own_script() -> None:
    import hashlib

    page = trajectories_page.render("run tiny", [Shown("after", 3, transcript())]).html
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not re.findall(r"(?:https?:)?//[a-z]|innerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", script)


def test_a_page_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Shown("after", 3, transcript(f"text {n}", number=n)) for n in range(6)]
    monkeypatch.setattr(trajectories_page, "MOST_TRAJECTORIES", 4)
    page = trajectories_page.render("run", many)
    assert (page.shown, len(data_of(page.html)["trajectories"])) == (4, 4)
    assert "4 of 6 trajectories: a page holds 4 of them" in page.html
    monkeypatch.setattr(trajectories_page, "MOST_CHARACTERS", 20)
    assert trajectories_page.render("run", many).shown == 2


def test_changes_are_marked_in_words() -> None:
    text = _trajectory_text.in_full(Selection().of([transcript("up=K")])).plain
    assert "hints, changed" in text
    assert "up=K {+new+}" in text


def test_special_tokens_have_a_colour_of_their_own() -> None:
    text = _trajectory_text.in_full(Selection().of([transcript("go<|end|>")]))
    marked = {text.plain[span.start : span.end] for span in text.spans if span.style == "magenta"}
    assert marked == {"<|end|>"}


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1400])
def test_it_draws_in_a_browser(tmp_path: Path, width: int, dump: Callable[..., str]) -> None:
    shown = [Shown("after", 3, transcript(HOSTILE, number=n, pack=f"lake/tiny/test/{n}")) for n in range(3000)]
    path = tmp_path / "view.html"
    path.write_text(trajectories_page.render("run tiny", shown).html)
    dom = dump(f"{path.as_uri()}#pack=2900", width)
    assert 'data-ready="yes"' in dom
    assert "3000 trajectories" in dom
    assert "<h1>lake/tiny/test/2900 " in dom.replace('<h1 class="">', "<h1>")
    assert 5 < dom.count('class="row"') < 60  # only the rows in sight
    assert "<img" not in dom
    assert r"\u202etxt.exe" in dom


def test_episodes_of_later_versions_are_read_without_what_is_unknown() -> None:
    episode = transcript().episodes[0]
    body = {**vars(episode), "turns": [vars(turn) for turn in episode.turns], "of_tomorrow": 1}
    assert EpisodeTranscript.of(body) == episode


# --- while it is played -----------------------------------------------------------------------------------------------


def test_packs_that_are_played_together_are_shown_one_after_the_other() -> None:
    said: list[str] = []
    watch = Watch(ShownLive(), said.append)

    async def both() -> None:
        players = [Player(Says(reply), CHAT, RolloutSettings("compact"), 0) for reply in (_slow, _up)]  # type: ignore[arg-type]
        watched = [watch(arm, pack(), player) for arm, player in zip(("own", "none"), players, strict=True)]
        await asyncio.gather(*(player.play(pack(), 0) for player in watched))

    asyncio.run(both())
    text = "\n".join(said)
    assert [line for line in text.split("\n") if "arm " in line or "━━" in line] == [
        f"{pack().id}, arm own", "━━ task 1 of 2", "━━ update after task 1", "━━ task 2 of 2",
        f"{pack().id}, arm none", "━━ task 1 of 2", "━━ update after task 1", "━━ task 2 of 2",
    ]  # fmt: skip
    assert text.count("prompt 1, ") == 6
    assert text.count("no reply came\n→ the server is gone") == 3
    assert (
        "▌ \\x1b[2J up\nread: nothing\n→ The reply could not be used: expected exactly one <answer>…</answer> block"
        in text
    )
    assert "\x1b" not in text
    assert watch.seen


def _slow(tag: RequestTag) -> str | None:
    return None


def _up(tag: RequestTag) -> str | None:
    return "\x1b[2J up"
