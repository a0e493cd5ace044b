"""Teachers at work: whose rows they score, with whose weights, and what happens to rows that they cannot score."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codctl.cod.engine import EngineError, Scores, Weights
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.config.schema import (
    BuildConfig,
    Config,
    DistillConfig,
    LoraConfig,
    ModelConfig,
    SamplingConfig,
    TeacherConfig,
    TrainConfig,
    WorldConfig,
)
from codctl.config.schema.world import MixtureRef
from codctl.engines.provider import EngineProvider, OpenEngine, Opening
from codctl.engines.transformers_engine import TransformersEngine
from codctl.errors import PreflightError, StageError
from codctl.learner.scoring import Scorer
from codctl.models.build import build_folder
from codctl.models.load import add_lora, load_chat, load_model, load_tokenizer
from codctl.train.credited import Scored, score
from codctl.train.setup import rollout_settings
from codctl.train.teachers import Teacher
from codctl.train.teaching import Teachers

WORLD = WorldConfig(
    mixture=(MixtureRef(family="frozen_lake", preset="tiny"), MixtureRef(family="alchemy", preset="tiny")),
    rendering="compact",
    length=2,
)


def recipe(**distill: Any) -> Config:
    teachers = tuple(TeacherConfig(families=(family,), model=family) for family in ("frozen_lake", "alchemy"))
    return Config(
        world=WORLD,
        model=ModelConfig(device="cpu"),
        sampling=SamplingConfig(solve_tokens=8, update_tokens=12),
        train=TrainConfig(packs=6, rollouts=1, micro_batch_tokens=512),
        distill=DistillConfig(teachers=teachers, **distill),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    build_folder(BuildConfig(layers=1, width=32, heads=1, kv_heads=1, head_dim=32, ffn=32, vocab=512), WORLD, 0, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One for each family, of different ranks."""
    root, found = tmp_path_factory.mktemp("adapters"), {}
    for seed, family in enumerate(("frozen_lake", "alchemy")):
        model = add_lora(load_model(base, "float32", "cpu"), LoraConfig(rank=2 + 2 * seed), seed)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
        found[family] = root / family
        model.save_pretrained(found[family])
        load_tokenizer(base).save_pretrained(found[family])
    return found


@pytest.fixture(scope="module")
def played(base: Path) -> Scored:
    """Six packs of both families, played by the base."""
    config, model = recipe(), load_model(base, "float32", "cpu")
    engine = TransformersEngine(model, pad_id=0, max_tokens=512)
    player = Player(engine, load_chat(base), rollout_settings(config), 0)
    packs = Mixture.of(WORLD).packs("train", 0, 0, 6)
    return score(config, asyncio.run(play_all(player, packs, 1)), 0)


def teachers_of(config: Config, folders: dict[str, Path], base: Path) -> Teachers:
    found = [Teacher(family, (family,), folder, base) for family, folder in folders.items()]
    return Teachers(config, found, load_chat(base), pad_id=0, log=base.parent / "teacher.log")


def taught(config: Config, folders: dict[str, Path], base: Path, played: Scored) -> Any:
    async def main() -> Any:
        teachers = teachers_of(config, folders, base)
        await teachers.start()
        try:
            return await teachers.teach(played, played.samples(99))
        finally:
            await teachers.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("take_turns", [False, True])
def test_adapters_on_one_base_share_it_and_score_their_own_family(
    base: Path, adapters: dict[str, Path], played: Scored, take_turns: bool
) -> None:
    rows, metrics = taught(recipe(take_turns=take_turns, estimator="topk", top_k=3), adapters, base, played)
    assert metrics == {"distill/unscored": 0.0}
    assert {row.lesson.label for row in rows} == {
        f"{family}/{kind}" for family in adapters for kind in ("solve", "update")
    }
    for family, folder in adapters.items():
        own = [row for row in rows if row.lesson.label.startswith(family)]
        model = load_model(folder, "float32", "cpu")
        scorer = Scorer(model, pad_id=0, micro_batch_tokens=512, chunk=4096, autocast=None)
        for row, wanted in zip(own, scorer(own, 3), strict=True):
            assert np.array_equal(row.lesson.scores.logprobs_N, wanted.logprobs_N)
            assert np.array_equal(row.lesson.scores.top_ids_NK, wanted.top_ids_NK)


def test_kinds_and_scales(base: Path, adapters: dict[str, Path], played: Scored) -> None:
    rows, metrics = taught(recipe(kinds=("update",), domain_scale="std"), adapters, base, played)
    assert {row.lesson.label.rpartition("/")[2] for row in rows} == {"update"}
    gaps = {family: [row.lesson.scores.logprobs_N - row.logprobs[row.loss_mask] for row in rows
                     if row.lesson.label.startswith(family)] for family in adapters}  # fmt: skip
    spread = np.concatenate([gap for own in gaps.values() for gap in own]).std()
    for family, own in gaps.items():
        wanted = float(np.clip(spread / np.concatenate(own).std(), 0.25, 4))
        assert metrics[f"distill/scale/{family}"] == pytest.approx(wanted, rel=1e-5)
        assert {row.lesson.scale for row in rows if row.lesson.label.startswith(family)} == {
            metrics[f"distill/scale/{family}"]
        }


def test_rows_that_cannot_be_scored_are_dropped_and_counted(
    base: Path, adapters: dict[str, Path], played: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = played.samples(99)
    bad = {samples[0].ids.tobytes(), samples[-1].ids.tobytes()}
    plain = TransformersEngine.score

    async def fails(self: Any, rows: Any, top: int = 0) -> Any:
        if any(row.ids.tobytes() in bad for row in rows):
            raise EngineError("a row is too long")
        return await plain(self, rows, top)

    monkeypatch.setattr(TransformersEngine, "score", fails)
    monkeypatch.setattr(Teachers, "_check", lambda *_: asyncio.sleep(0))
    rows, metrics = taught(recipe(), adapters, base, played)
    assert metrics["distill/unscored"] == pytest.approx(2 / len(samples))
    assert [row.ids.tolist() for row in rows] == [sample.ids.tolist() for sample in samples[1:-1]]
    bad |= {sample.ids.tobytes() for sample in samples}
    with pytest.raises(StageError, match=r"the teachers could not score .* a row is too long"):
        taught(recipe(), adapters, base, played)


def test_a_teacher_that_scores_otherwise_than_it_samples_is_told_at_the_start(
    base: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TransformersEngine.score

    async def shifted(self: Any, rows: Any, top: int = 0) -> Any:
        return [replace(one, logprobs_N=np.roll(one.logprobs_N, 1)) for one in await plain(self, rows, top)]

    monkeypatch.setattr(TransformersEngine, "score", shifted)
    with pytest.raises(StageError, match="scores its own reply otherwise than it sampled it"):
        asyncio.run(teachers_of(recipe(), adapters, base).start())


class Elsewhere(OpenEngine):
    """An engine of other processes, as far as its callers can tell."""

    def __init__(self, opening: Opening, said: list[str]) -> None:
        super().__init__()
        self.said, self.folder = said, opening.folder
        said.append(f"open {opening.folder.name} top {opening.top} on {opening.config.engine.placement}")

    async def start(self) -> None:
        self.said.append("start")

    async def update_weights(self, weights: Weights) -> None:
        assert weights.folder is not None
        self.folder = weights.folder
        self.said.append(f"load {weights.folder.name}")

    async def score(self, rows: Any, top: int = 0) -> list[Scores]:
        self.said.append(f"score by {self.folder.name}")
        return [Scores(np.zeros(row.loss_tokens, np.float32)) for row in rows]

    async def sleep(self) -> None:
        self.said.append("sleep")

    async def wake(self) -> None:
        self.said.append("wake")

    async def aclose(self) -> None:
        self.said.append("close")


def test_an_engine_elsewhere_gets_each_teachers_weights_in_turn_and_sleeps_between_steps(
    base: Path, adapters: dict[str, Path], played: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Provider(EngineProvider):
        def open(self, opening: Opening) -> OpenEngine:
            return Elsewhere(opening, said)

    monkeypatch.setattr("codctl.train.teaching.provider_of", lambda config: Provider())
    monkeypatch.setattr(Teachers, "_check", lambda *_: asyncio.sleep(0))
    taught(recipe(engine="vllm"), adapters, base, played)
    assert said == [
        "open alchemy top 0 on colocate",  # of the larger rank
        "start", "load alchemy", "load frozen_lake", "sleep",
        "wake", "load alchemy", "score by alchemy", "load frozen_lake", "score by frozen_lake", "sleep",
        "close",
    ]  # fmt: skip


def test_vllm_is_not_given_an_adapter_on_the_output_layer(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(adapters["alchemy"], tmp_path / "alchemy")
    file = tmp_path / "alchemy/adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "target_modules": ["q_proj", "lm_head"]}))
    with pytest.raises(PreflightError, match="also on the output head"):
        teachers_of(recipe(engine="vllm"), {**adapters, "alchemy": tmp_path / "alchemy"}, base)
