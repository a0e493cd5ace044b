"""The variant `paper`: the user's data, the options of a world entry, and the rule as judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codctl.cli.main import run
from codctl.cod.prompts import solve_messages
from codctl.cod.references import play_policy
from codctl.config.evalspec import EvalSpec
from codctl.config.schema import WorldConfig
from codctl.envs.base import Step
from codctl.envs.learn2ask.data import Row, read_dialogues
from codctl.envs.learn2ask.judge import RuleJudge, Verdict
from codctl.envs.learn2ask.options import JudgeOptions, PaperOptions
from codctl.envs.learn2ask.paper import PaperEpisode, PaperLearn2Ask, PaperTask, RuledEpisode
from codctl.envs.learn2ask.scoring import Fusion
from codctl.envs.registry import check_world, edition_of, family_of, get_family
from codctl.errors import CodctlError, PreflightError, UsageError
from tests.envs.learn2ask.dialogues import dialogue, write

CHAT = (("user", "My head hurts."),)
ASK = Row("1", "1", "migraine", CHAT, "continue", ("severity", "location of the pain"))
STOP = Row("2", "1", "migraine", (*CHAT, ("assistant", "How bad?"), ("user", "Bad.")), "stop", ())


def play(row: Row, action: str, fusion: Fusion = "Ra+Rs") -> tuple[PaperEpisode, Step]:
    episode = RuledEpisode(PaperTask(row), fusion, "full")
    return episode, episode.act(action)


def paper(path: Path, **more: Any) -> PaperLearn2Ask:
    family = check_world("learn2ask", "tiny", "paper", options={"data": str(path), **more})
    assert isinstance(family, PaperLearn2Ask)
    return family


@pytest.mark.parametrize(
    ("row", "action", "expected", "said", "outcome"),
    [
        (ASK, "Where is the pain: front or back?", 1.0, "Content 1 of 1, form 1 of 1.", "solved"),
        (ASK, "How bad is it, mild or strong?", 0.75, "Content 0.5 of 1, form 1 of 1.", "beside"),
        (ASK, "Do you smoke?", 0.5, "Content 0 of 1", "beside"),
        (ASK, "Is the pain strong? Since when?", 0.875, "form 0.5 of 1", "form"),
        (ASK, "<stop />", 0.0, "You stopped too early", "early"),
        (ASK, "I would <stop /> here", 0.0, "You stopped too early", "early"),
        (STOP, "<stop />", 1.0, "at the right time, and wrote nothing else", "solved"),
        (STOP, "Thank you. <stop />", 0.75, "but only the tag was wanted", "form"),
        (STOP, "Do you smoke?", 0.0, "not needed", "late"),
        (STOP, "stop", 0.0, "not needed", "late"),  # published: only the tag ends it
    ],
)
def test_scores(row: Row, action: str, expected: float, said: str, outcome: str) -> None:
    episode, step = play(row, action)
    assert (step.reward, step.done, episode.turns, episode.outcome) == (expected, True, 1, outcome)
    assert said in step.feedback
    assert episode.transcript().endswith(f"Doctor (you): {action}")


def test_fusions_are_divided_by_what_they_can_be() -> None:
    rewards = {fusion: play(ASK, "Do you smoke?", fusion)[1].reward for fusion in ("Ra+Rs", "sum", "Ra", "Rs")}  # type: ignore[arg-type]
    assert rewards == pytest.approx({"Ra+Rs": 2 / 4, "sum": 2 / 3, "Ra": 1 / 3, "Rs": 4 / 4})


@pytest.mark.parametrize(
    ("facts", "question", "content"),
    [
        (("头痛的位置",), "头痛在哪个位置，左边还是右边？", 1.0),
        (("发热",), "你吸烟吗？", 0.0),
        (("fever",), "What is your temperature?", 0.5),
        (("FEVER since Monday",), "Have you a fever?", 1.0),
    ],
)
def test_the_rule(facts: tuple[str, ...], question: str, content: float) -> None:
    row = Row("1", "1", "x", CHAT, "continue", facts)
    assert RuleJudge(JudgeOptions()).verdict(row, question).content == content


def test_a_pack_is_drawn_from_the_file_and_played(tmp_path: Path) -> None:
    family = paper(write(tmp_path / "talks.jsonl"))
    short, long = (family.pack("train", 3, length, "tiny", "paper") for length in (3, 8))
    assert [t.row.id for t in short.tasks] == [t.row.id for t in long.tasks][:3]
    assert len({t.row.id for t in long.tasks}) == 8
    assert long.id == "learn2ask/tiny-paper/train/3"
    packs = [family.pack("test", index, 4, "tiny", "paper") for index in range(10)]
    for name, least, most in (("informed", 1.0, 1.0), ("stop", 0.2, 0.8), ("ask", 0.1, 0.7)):
        rewards = [e.raw_reward for t in play_policy(name, packs, "full", 0) for e in t.of("solve")]
        assert least <= sum(rewards) / len(rewards) <= most
    first = long.slots[0]
    stops = next(slot for slot in long.slots if slot.task.row.decision == "stop")
    messages = solve_messages(stops, "", stops.begin("full").first, "full")
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "How bad is it?"
    assert family.pack("train", 0, 2, "tiny").variant == "protocol"
    assert first.family is family


def test_splits_are_disjoint_in_sessions_or_diagnoses(tmp_path: Path) -> None:
    path = write(tmp_path / "talks.jsonl")
    dialogues = read_dialogues(path)
    for held_out in ("session", "diagnosis"):
        parts = {split: dialogues.split(split, held_out) for split in ("train", "validation", "test")}
        assert sum(map(len, parts.values())) == len(dialogues.rows) == 120
        sessions = [{row.session for row in rows} for rows in parts.values()]
        assert len(set.union(*sessions)) == sum(map(len, sessions))
        assert all(parts.values())
        assert dialogues.split("demonstration", held_out) == parts["train"]
    assert len(parts["test"]) >= 0.2 * 120
    assert not {row.diagnosis for row in parts["test"]} & {row.diagnosis for row in parts["train"]}


GOOD = dialogue()
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "it is not JSON"),
    "deep": ("[" * 100_000, ""),
    "list": ("[1]", "it is not a JSON object"),
    "decision": (GOOD | {"decision_truth": "wait"}, 'decision_truth must be continue or stop, got "wait"'),
    "no facts": (GOOD | {"info_truth": " , "}, "info_truth names nothing to ask for"),
    "facts": (GOOD | {"info_truth": 3}, "info_truth must be a text, got 3"),
    "session": (GOOD | {"session_id": None}, "session_id must be a text or a number, got null"),
    "messages": (GOOD | {"messages": "hello"}, "messages must be a list of turns"),
    "role": (GOOD | {"messages": [{"role": "system", "content": "x"}]}, "a turn has the role user or assistant"),
    "empty": (GOOD | {"messages": [{"role": "user", "content": " "}]}, "and a text"),
    "doctor last": (
        GOOD | {"messages": [*GOOD["messages"], {"role": "doctor", "content": "Hm?"}]},
        "messages must end with a turn of the patient",
    ),
    "nothing": ("", "the file has no dialogues"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_does_not_fit_is_refused_with_the_line(tmp_path: Path, kind: str) -> None:
    row, said = BAD[kind]
    path = write(tmp_path / "talks.jsonl", [GOOD, row] if row else [])
    with pytest.raises(PreflightError) as caught:
        read_dialogues(path)
    told = " ".join(
        [caught.value.message, *(f"{problem.where} {problem.message}" for problem in caught.value.problems)]
    )
    assert said in told
    assert (f"{path}:2 " in told) == bool(row)
    assert len(told) < 400


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({}, UsageError, "the variant paper needs data"),
        ({"data": "{folder}/none.jsonl"}, PreflightError, "the dialogues cannot be read: No such file"),
        ({"data": "{folder}"}, PreflightError, "the dialogues cannot be read: Is a directory"),
        ({"data": "{file}", "sha256": "0" * 64}, PreflightError, "another content than options.sha256 says"),
        ({"data": "{file}", "fusion": "max"}, UsageError, "fusion: "),
        ({"data": "{file}", "judge": {"kind": "oracle"}}, UsageError, "unknown judge 'oracle'"),
        ({"data": "{file}", "judge": {"knd": "rule"}}, UsageError, "unknown option judge.knd (known: kind, url"),
        ({"data": "{file}", "judge": {"kind": "endpoint"}}, UsageError, "needs judge.url and judge.model"),
        (
            {"data": "{file}", "judge": {"kind": "endpoint", "url": "ftp://x", "model": "m"}},
            UsageError,
            "expected an endpoint like http",
        ),
        (
            {"data": "{file}", "judge": {"kind": "endpoint", "url": "http://u:p@x/v1", "model": "m"}},
            UsageError,
            "holds no user, password",
        ),
        (
            {"data": "{file}", "judge": {"kind": "endpoint", "url": "http://x/v1", "model": "m", "api_key_env": "NIX"}},
            UsageError,
            "the variable NIX of judge.api_key_env is not set",
        ),
    ],
)
def test_options_are_checked_before_any_work(
    tmp_path: Path, options: dict[str, Any], kind: type[CodctlError], said: str
) -> None:
    path = write(tmp_path / "talks.jsonl", [GOOD])
    filled = {
        key: value.format(folder=tmp_path, file=path) if isinstance(value, str) else value
        for key, value in options.items()
    }
    with pytest.raises(kind) as caught:
        check_world("learn2ask", "tiny", "paper", options=filled)
    assert said in caught.value.message


def test_options_where_none_are_taken() -> None:
    for family, variant in (("learn2ask", None), ("frozen_lake", "paper")):
        with pytest.raises(UsageError, match=r"takes no options, and gets data"):
            check_world(family, "tiny", variant, options={"data": "x"})
    with pytest.raises(UsageError, match="the variant paper needs data"):
        get_family("learn2ask").pack("train", 0, 2, "tiny", "paper")
    assert get_family("learn2ask").open_variants == ("protocol",)


def test_recipes_and_evaluations_hold_them(tmp_path: Path) -> None:
    path = write(tmp_path / "talks.jsonl")
    options: Any = {"data": str(path), "judge": {"kind": "rule"}}
    world = WorldConfig(family="learn2ask", variant="paper", options=options)
    assert family_of(world.parts[0]) is family_of(world.parts[0])  # read once
    spec = EvalSpec(family="learn2ask", preset="tiny", variant="paper", options=options)
    assert spec.identity()["options"] == options
    assert "options" not in EvalSpec().identity()
    before = edition_of(spec)
    write(path, [dialogue(number) for number in range(30)])
    assert edition_of(spec) != before > 1  # other data, other results
    assert world.without_options().parts[0].options == {}
    assert len({world, world.without_options(), world.model_copy()}) == 2


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "talks.jsonl")
    world = ["--variant", "paper", "--set", f"data={path}", "--set", "judge.kind=rule"]
    assert run(["env", "play", "learn2ask", *world, "--policy", "informed", "--length", "2"]) == 0
    assert "score: 1.00" in capsys.readouterr().out
    where = ["family=learn2ask", "variant=paper", f"options.data={path}", "preset=tiny"]
    runs = ["--runs-dir", str(tmp_path / "runs")]
    assert run(["eval", "--policy", "ask", *where, "--limit", "3", *runs]) == 0
    assert run(["eval", "--policy", "ask", *where, "options.fusion=max", "--limit", "3", *runs]) == 2
    assert "fusion" in capsys.readouterr().err
    assert run(["env", "play", "learn2ask", "--variant", "paper"]) == 2
    assert "the variant paper needs data" in capsys.readouterr().err


def test_a_judge_of_a_package_that_does_not_wait_is_asked_too(tmp_path: Path) -> None:
    class Kind(RuleJudge):
        async def judge(self, row: Row, reply: str) -> Verdict:
            return Verdict(1.0, 1.0)

    path = write(tmp_path / "talks.jsonl", [dialogue(number) for number in range(60)])
    options = PaperOptions(data=str(path))
    family = PaperLearn2Ask(options, read_dialogues(path), Kind(options.judge))
    packs = [family.pack("train", index, 2, "tiny", "paper") for index in range(3)]
    rewards = [e.raw_reward for t in play_policy("ask", packs, "full", 0) for e in t.of("solve")]
    assert rewards == [1.0] * 6  # the rule gives 0.75
