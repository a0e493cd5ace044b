"""Demonstrations by another player: what is kept, that it continues, and that a warm start learns from the folder."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import ByteChat, TemplateChat
from codctl.cod.references import reference_player
from codctl.cod.rollout import play_all
from codctl.config.schema import Config
from codctl.envs.frozen_lake.world import LakeEpisode
from codctl.envs.registry import get_family
from codctl.envtools.demonstrate import DemonstrationSpec, demonstrate
from codctl.errors import PreflightError, RefusedError, StageError
from codctl.evaluate.subject import PolicyUnderTest
from codctl.files.seal import read_info
from codctl.learner.demonstrations import digest_of, episode_of, of_folder, prompts_digest, read
from codctl.pipeline.pipeline import run_training
from codctl.runs.directory import RunDirectory
from codctl.train.preflight import check_worlds

PLAYER = PolicyUnderTest("policy", "demonstrator")


class HaltError(Exception):
    """Raised in the middle of playing."""


class Quiet:
    """A progress that stops the playing after so many reports."""

    def __init__(self, most: int = 10**9) -> None:
        self.left = most

    def update(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            raise HaltError

    def message(self, text: str) -> None: ...


def spec(**values: Any) -> DemonstrationSpec:
    usual = {"family": "frozen_lake", "preset": "tiny", "variant": "default", "rendering": "compact", "length": 3}
    sampling = {"seed": 0, "temperature": 1.0, "solve_tokens": 99, "update_tokens": 99}
    return DemonstrationSpec(**{**usual, "packs": 12, "best_of": 2, **sampling, **values})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demonstrations") / "made"
    assert demonstrate(PLAYER, spec(), out, Quiet())["written"]
    return out


def recipe(folder: Path, model: Path, **sections: Any) -> Config:
    return Config.model_validate(
        {
            "world": {"preset": "tiny", "rendering": "compact", "length": 3},
            "model": {"path": str(model), "lora": {"rank": 2}},
            "sampling": {"solve_tokens": 12, "update_tokens": 24},
            "warm_start": {"demonstrations": str(folder), "batch_rows": 16},
            "train": {"enabled": False},
            "evaluation": {"enabled": False},
            "tracking": {"mlflow": False},
            "runtime": {"threads": 1},
            **sections,
        }
    )


def test_what_went_well_is_kept(made: Path) -> None:
    """Of each pack's best trajectory: solved tasks, and updates that were read and came before a solved task."""
    packs = [get_family("frozen_lake").pack("demonstration", number, 3, "tiny", "default") for number in range(12)]
    played = asyncio.run(play_all(reference_player("demonstrator", "compact", 0), packs, 2))
    expected = set()
    for pair in zip(played[::2], played[1::2], strict=True):
        solved = [[e.raw_reward == 1 for e in trajectory.of("solve")] for trajectory in pair]
        turns = [sum(e.turns for e in trajectory.of("solve")) for trajectory in pair]
        best = max((0, 1), key=lambda one: (sum(solved[one]), -turns[one], -one))
        pack = pair[best].pack
        expected |= {(pack, best, "solve", place) for place, is_solved in enumerate(solved[best]) if is_solved}
        expected |= {(pack, best, "update", place) for place in range(2) if solved[best][place + 1]}
    found = read(made)
    assert {(one.pack, one.rollout, one.kind, one.position) for one in found} == expected
    assert len({one.rollout for one in found}) == 2
    info = read_info(made)
    assert info["played"]["trajectories"] == 24
    assert info["played"]["solved"] == sum(e.raw_reward for t in played for e in t.of("solve")) < 72
    assert info["kept"]["episodes"] == len(expected)
    assert [message["role"] for message in found[0].messages[:3]] == ["system", "user", "assistant"]


def test_stopped_it_continues_and_ends_the_same(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    journal = tmp_path / "stopped.journal.jsonl"
    with pytest.raises(HaltError):
        demonstrate(PLAYER, spec(), out, Quiet(20))
    with journal.open("a") as file:
        file.write('{"pack": 11, "succ')  # torn
    finished = len(journal.read_text().splitlines()) - 2
    assert 0 < finished < 12
    progress = Quiet()
    demonstrate(PLAYER, spec(), out, progress)
    assert 10**9 - progress.left == 1 + 2 * (12 - finished)  # a report for each trajectory that was missing
    assert digest_of(out) == digest_of(made)
    assert not journal.exists()
    assert demonstrate(PLAYER, spec(), out, Quiet())["written"] is False


def test_hints_are_edited_where_that_is_asked_for(tmp_path: Path) -> None:
    demonstrate(PLAYER, spec(update="delta", rendering="full"), tmp_path / "out", Quiet())
    assert read_info(tmp_path / "out")["spec"]["update"] == "delta"
    updates = [one.messages for one in read(tmp_path / "out") if one.kind == "update"]
    assert any("\nadd: " in messages[-1]["content"] for messages in updates)
    assert any("\n1. " in messages[1]["content"] for messages in updates)


def test_another_command_does_not_overwrite(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds other demonstrations: another spec"):
        demonstrate(PLAYER, spec(packs=13), made, Quiet())
    (tmp_path / "mine").mkdir()
    with pytest.raises(RefusedError, match="no complete demonstrations"):
        demonstrate(PLAYER, spec(), tmp_path / "mine", Quiet())
    with pytest.raises(HaltError):
        demonstrate(PLAYER, spec(), tmp_path / "one", Quiet(9))
    with pytest.raises(RefusedError, match="a journal of other demonstrations"):
        demonstrate(PLAYER, spec(seed=1), tmp_path / "one", Quiet())


def test_nothing_solved_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="none of 3 tasks was solved") as error:
        demonstrate(
            PolicyUnderTest("policy", "random"), spec(preset="hard", packs=1, best_of=1), tmp_path / "none", Quiet()
        )
    assert "--best-of" in error.value.hint


# --- reading ----------------------------------------------------------------------------------------------------------


def test_texts_become_rows_of_the_learners_own_tokens(made: Path, tiny_folder: Path, tokenizer: Any) -> None:
    chat = TemplateChat(tokenizer)
    found = of_folder(recipe(made, tiny_folder), chat)
    assert found.too_long == 0
    for one, episode in zip(read(made), found.episodes, strict=True):
        sampled = [token for token, is_sampled in zip(episode.ids, episode.loss_mask, strict=True) if is_sampled]
        replies = [m["content"] for m in one.messages if m["role"] == "assistant"]
        assert sampled == [token for reply in replies for token in chat.reply(reply)]
        assert episode.ids[: int(episode.loss_mask.argmax())].tolist() == chat.open(one.messages[:2])
    few = recipe(made, tiny_folder, sampling={"solve_tokens": 12, "update_tokens": 2})
    updates = sum(one.kind == "update" for one in read(made))
    assert (of_folder(few, chat).too_long, len(of_folder(few, chat).episodes)) == (updates, len(read(made)) - updates)
    two = recipe(made, tiny_folder, warm_start={"demonstrations": str(made), "packs": 2})
    assert len(of_folder(two, ByteChat()).episodes) + of_folder(two, ByteChat()).too_long <= 10


def test_a_task_that_begins_as_a_conversation_teaches_only_what_was_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = prompts_digest("frozen_lake", "tiny", "default", "compact")
    opening = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "go on"}]
    monkeypatch.setattr(LakeEpisode, "opening", (*opening, {"role": "user", "content": "cross the lake"}))
    assert prompts_digest("frozen_lake", "tiny", "default", "compact") != plain
    demonstrate(PLAYER, spec(packs=3, best_of=1), tmp_path / "made", Quiet())
    player = reference_player("demonstrator", "compact", 0)
    packs = [get_family("frozen_lake").pack("demonstration", number, 3, "tiny", "default") for number in range(3)]
    played = {
        (e.kind, trajectory.pack, e.position): e
        for trajectory in asyncio.run(play_all(player, packs, 1))
        for e in trajectory.episodes
    }
    found = read(tmp_path / "made")
    assert {(one.kind, one.prompt) for one in found} == {("solve", 4), ("update", 2)}
    for one in found:
        episode, expected = episode_of(one, player.chat), played[one.kind, one.pack, one.position]
        assert episode.ids.tolist() == expected.ids.tolist()
        assert episode.loss_mask.tolist() == expected.loss_mask.tolist()
        assert (episode.turns, episode.turn_ends) == (expected.turns, expected.turn_ends)


def test_a_folder_that_does_not_suit_is_refused_before_anything_runs(
    made: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_worlds(recipe(made, tiny_folder))
    with pytest.raises(PreflightError, match="no demonstrations in") as error:
        check_worlds(recipe(tmp_path / "nowhere", tiny_folder))
    assert "codctl env demonstrate frozen_lake --rendering compact" in error.value.hint
    world = {"preset": "tiny", "rendering": "full", "length": 3}
    with pytest.raises(PreflightError, match="are of frozen_lake in compact, the recipe trains on frozen_lake in full"):
        check_worlds(recipe(made, tiny_folder, world=world))
    with pytest.raises(PreflightError, match="show updates by rewrite, the recipe has") as error:
        check_worlds(recipe(made, tiny_folder, context={"update": "delta"}))
    assert "--update delta" in error.value.hint
    monkeypatch.setattr("codctl.learner.demonstrations.prompts_digest", lambda *_: "other")
    with pytest.raises(PreflightError, match="writes other prompts than when"):
        check_worlds(recipe(made, tiny_folder))


def test_a_warm_start_learns_from_the_folder_and_keeps_to_it(made: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(made, folder)
    mixed = {"demonstrations": str(folder), "batch_rows": 16, "scripted_share": 0.5}
    runs = {name: train(tmp_path, recipe(folder, tiny_folder, name=name)) for name in ("one", "again")}
    runs["mixed"] = train(tmp_path, recipe(folder, tiny_folder, name="mixed", warm_start=mixed))
    results = {name: json.loads((run.stage("warm_start") / "result.json").read_text()) for name, run in runs.items()}
    assert results["one"]["episodes"] == len(read(made))
    assert results["one"]["source"] == digest_of(made)
    assert results["mixed"]["episodes"] == 2 * len(read(made))
    assert "of another run" in runs["again"].log_path(1).read_text()
    demonstrate(PLAYER, spec(seed=1), tmp_path / "other", Quiet())
    shutil.rmtree(folder)
    train(tmp_path, recipe(folder, tiny_folder, name="one"))  # what is finished needs the folder no more
    shutil.copytree(tmp_path / "other", folder)
    with pytest.raises(RefusedError, match="the run began with other demonstrations"):
        train(tmp_path, recipe(folder, tiny_folder, name="one"))
    other = train(tmp_path, recipe(folder, tiny_folder, name="new"))
    assert "of another run" not in other.log_path(1).read_text()


def train(root: Path, config: Config) -> RunDirectory:
    run = RunDirectory.create_or_continue(root / "runs", config, recipe="r.yaml", command=["codctl"])
    with run.start_attempt():
        run_training(config, run, None)
    return run
