"""Steps that share their weights are played at once: the same samples, in far fewer forward passes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player
from codctl.config.schema import Config
from codctl.engines.transformers_engine import TransformersEngine
from codctl.models.load import load_chat
from codctl.runs.progress import Progress
from codctl.train.sampler import Sampler
from codctl.train.schedule import Wave, wave_of
from codctl.train.setup import rollout_settings
from codctl.train.training_engine import TrainingEngine
from codctl.train.wave_store import WaveStore
from codctl.train.waves import Played, WavePlayer

PACKS, ROLLOUTS = 2, 4
FOUR = Wave(0, 1, 4)


class Silent(Progress):
    def update(self, *_: Any) -> None: ...

    def message(self, text: str) -> None: ...


class Waves:
    """A wave player with an engine of its own, as a training has it."""

    def __init__(self, model: Any, folder: Path, store: Path, *, seats: int = 256, is_exact: bool = True) -> None:
        self.config = Config.model_validate(
            {
                "world": {"preset": "tiny", "rendering": "compact", "length": 3},
                "model": {"path": str(folder), "device": "cpu"},
                "sampling": {"solve_tokens": 10, "update_tokens": 24},
                "train": {"steps": 8, "packs": PACKS, "rollouts": ROLLOUTS},
                "runtime": {"max_batch": seats},
            }
        )
        chat = load_chat(folder, _tokenizer(folder))
        self.engine = _Counting(model, pad_id=0, max_tokens=512, max_batch=seats)
        sampler = Sampler(self.config, TrainingEngine(self.engine, False), cast("Any", None), run=store, chat=chat)
        player = Player(self.engine, cast("TemplateChat", chat), rollout_settings(self.config), self.config.seed)
        self._player = WavePlayer(self.config, sampler, player, WaveStore(store, "digest"), Silent())
        self._player._is_exact = is_exact
        self._mixture = Mixture.of(self.config.world)

    def play(self, wave: Wave, wanted: Collection[int] | None = None) -> dict[int, Played]:
        found: dict[int, Played] = {}

        def packs(step: int) -> list[Any]:
            return self._mixture.packs("train", self.config.seed, (step - 1) * PACKS, PACKS)

        asyncio.run(self._player.wave(wave, packs, wave.steps if wanted is None else wanted, found.__setitem__))
        return found


class _Counting(TransformersEngine):
    """Knows how many trajectories were alive together at most, and how many there were."""

    most = played = live = 0

    def open_session(self) -> None:
        self.live += 1
        self.played += 1
        self.most = max(self.most, self.live)
        super().open_session()

    def close_session(self) -> None:
        self.live -= 1
        super().close_session()


def _tokenizer(folder: Path) -> Any:
    from codctl.models.load import load_tokenizer

    return load_tokenizer(folder)


def tokens(played: Played) -> list[list[int]]:
    return [episode.ids.tolist() for t in played.trajectories for episode in t.episodes]


def order(played: Played) -> list[tuple[str, int]]:
    return [(t.pack, t.rollout) for t in played.trajectories]


@pytest.mark.parametrize(
    ("engine", "waves"),
    [
        ({}, [(1, 1), (2, 2), (3, 3)]),
        ({"sync_every": 4}, [(1, 4), (5, 8)]),
        ({"sync_every": 4, "overlap": True}, [(1, 5), (6, 8)]),
        ({"sync_every": 2, "overlap": True, "lead": 1}, [(1, 5), (6, 7), (8, 8)]),
    ],
)
def test_a_wave_has_all_steps_of_a_version(engine: dict[str, Any], waves: list[tuple[int, int]]) -> None:
    section = Config.model_validate({"engine": engine}).engine
    for first, last in waves:
        for step in range(first, last + 1):
            found = wave_of(step, section, total=8)
            assert (found.first, found.last) == (first, last)


def test_four_steps_at_once_have_the_samples_of_one_after_the_other(
    tiny_folder: Path, model: Any, tmp_path: Path
) -> None:
    at_once = Waves(model, tiny_folder, tmp_path / "wave")
    wave = at_once.play(FOUR)
    passes = 0
    for step in FOUR.steps:
        alone = Waves(model, tiny_folder, tmp_path / "alone")
        (played,) = alone.play(Wave(0, step, step)).values()
        assert tokens(played) == tokens(wave[step])
        assert order(played) == order(wave[step])
        passes += alone.engine.stats.forwards
    assert 3.5 * at_once.engine.stats.forwards <= passes
    assert all(played.seconds > 0 for played in wave.values())


def test_seats_limit_a_wave_and_its_steps_are_complete_in_order(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    waves = Waves(model, tiny_folder, tmp_path, seats=3)
    assert list(waves.play(FOUR)) == [1, 2, 3, 4]
    assert waves.engine.most == 3


def test_what_is_finished_is_not_played_again(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    through = Waves(model, tiny_folder, tmp_path).play(FOUR)
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:100])  # killed while it wrote the ninth trajectory
    resumed = Waves(model, tiny_folder, tmp_path, is_exact=False)
    rest = resumed.play(FOUR, wanted=[2, 3, 4])
    known = [line for line in lines[1:9] if b'"trajectory"' in line and not line.startswith(b'{"step": 1,')]
    assert resumed.engine.played == 3 * PACKS * ROLLOUTS - len(known)
    assert {step: tokens(played) for step, played in rest.items()} == {s: tokens(through[s]) for s in (2, 3, 4)}
    again = Waves(model, tiny_folder, tmp_path)
    assert [played.trajectories for played in again.play(FOUR, wanted=[2, 3, 4]).values()] == [
        played.trajectories for played in rest.values()
    ]
    assert again.engine.played == 0


def test_where_bits_count_a_wave_that_was_broken_off_is_played_whole(
    tiny_folder: Path, model: Any, tmp_path: Path
) -> None:
    through = Waves(model, tiny_folder, tmp_path).play(FOUR)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    again = Waves(model, tiny_folder, tmp_path)
    found = again.play(FOUR, wanted=[3, 4])
    assert again.engine.played == 4 * PACKS * ROLLOUTS
    for step in (3, 4):
        assert found[step].trajectories == through[step].trajectories
        assert found[step].stats == through[step].stats


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"\xff\xfe\n", b'{"schema": 1, "digest": "other", "version": 0}\n'])
def test_a_file_that_cannot_be_used_is_begun_again(tmp_path: Path, damage: bytes) -> None:
    store = WaveStore(tmp_path, "digest")
    with store.open(FOUR) as file:
        assert not file.kept
    (path,) = tmp_path.iterdir()
    header = path.read_bytes()
    path.write_bytes(damage + b'{"step": 1, "stats": {}}\n')
    with store.open(FOUR) as file:
        assert not file.kept
        assert not file.stats
    assert path.read_bytes() == header


def test_waves_are_forgotten_when_they_are_learned(tmp_path: Path) -> None:
    store = WaveStore(tmp_path / "waves", "digest")
    for wave in (FOUR, Wave(4, 5, 8)):
        store.open(wave).__exit__(None, None, None)
    store.forget(5)
    assert [path.name for path in (tmp_path / "waves").iterdir()] == ["000004-000005-000008.jsonl"]
    store.forget(8)
    assert not (tmp_path / "waves").exists()
