"""Real vLLM engines on the CPU, started once, and models whose log-probs they are held against."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.trajectory import Trajectory
from codctl.config.schema import (
    BuildConfig,
    Config,
    EngineConfig,
    LoraConfig,
    ModelConfig,
    RuntimeConfig,
    SamplingConfig,
    WorldConfig,
)
from codctl.engines.provider import Opening
from codctl.engines.replicas import Replicas
from codctl.engines.vllm.provider import Vllm
from codctl.models.build import build_folder
from codctl.models.load import load_model, load_tokenizer
from codctl.train.setup import rollout_settings

WORLD = WorldConfig(preset="tiny", rendering="full", length=3)
SIZE: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "ffn": 48, "vocab": 1024}


def recipe(**engine: Any) -> Config:
    """A small model, as the engine alone sees it."""
    return Config(
        world=WORLD,
        model=ModelConfig(device="cpu", lora=LoraConfig(rank=8 if engine.pop("lora", True) else 0)),
        sampling=SamplingConfig(solve_tokens=24, update_tokens=32, deadline_s=engine.pop("deadline_s", 120.0)),
        engine=EngineConfig(kind="vllm", start_s=240.0, **engine),
        runtime=RuntimeConfig(threads=1, max_batch=64),
    )


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all engines, which stay in it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`tied` and `untied`, with output layers that are and are not the input's. Read only."""
    root, found = tmp_path_factory.mktemp("models"), {}
    for name in ("tied", "untied"):
        found[name] = root / name
        build = BuildConfig(**SIZE, max_tokens=2048, tie_embeddings=name == "tied")
        build_folder(build, WORLD, 0, found[name])
        changed(found[name], found[name], 1.0, seed=0)
    return found


@pytest.fixture(scope="session")
def http_engine(loop: asyncio.Runner, models: dict[str, Path], tmp_path_factory: Any) -> Iterator[Replicas]:
    """The tied model behind a server of one's own."""
    log = tmp_path_factory.mktemp("http") / "vllm.log"
    yield from running(loop, open_vllm(recipe(), models["tied"], engines=(), log=log))


@pytest.fixture(scope="session")
def untied_engine(loop: asyncio.Runner, models: dict[str, Path], tmp_path_factory: Any) -> Iterator[Replicas]:
    """The untied model behind a server of one's own."""
    log = tmp_path_factory.mktemp("untied") / "vllm.log"
    yield from running(loop, open_vllm(recipe(), models["untied"], engines=(), log=log))


def open_vllm(config: Config, folder: Path, *, engines: tuple[tuple[int, ...], ...], log: Path) -> Replicas:
    return Vllm().open(Opening(config, folder, folder, engines, log))


def running(loop: asyncio.Runner, engine: Replicas) -> Iterator[Replicas]:
    loop.run(engine.start())
    try:
        yield engine
    finally:
        loop.run(engine.aclose())


@pytest.fixture
def new_weights(tmp_path: Path) -> Callable[..., Path]:
    """Makes published weights of a base model: `new_weights(base, seed, lora=False)`."""

    def make(base: Path, seed: int, *, lora: bool = False) -> Path:
        folder = tmp_path / f"weights-{seed}-{lora}"
        return adapted(base, folder, seed) if lora else changed(base, folder, 0.05, seed)

    return make


def changed(base: Path, folder: Path, spread: float, seed: int) -> Path:
    """The model with noise on every weight, so that nothing that was computed before is right any more."""
    import torch

    model = load_model(base, "float32", "cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * spread * weight.abs().mean())
    model.save_pretrained(folder)
    return folder


def adapted(base: Path, folder: Path, seed: int) -> Path:
    """A PEFT adapter that does something."""
    import torch
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    config = PeftConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_model(base, "float32", "cpu"), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    model.save_pretrained(folder)
    return folder


def player(engine: Any, base: Path, seed: int = 0, **changes: Any) -> Player:
    import dataclasses

    settings = dataclasses.replace(rollout_settings(recipe()), **changes)
    return Player(engine, TemplateChat(load_tokenizer(base)), settings, seed)


async def play(player: Player, packs: int = 4, rollouts: int = 4) -> list[Trajectory]:
    return await play_all(player, Mixture.of(WORLD).packs("train", 0, 0, packs), rollouts)


def gap(trajectories: list[Trajectory], weights: Path, temperature: float = 1.0, base: Path | None = None) -> float:
    """Largest difference between the log-probs of the sampled tokens and those that transformers gives them."""
    import torch

    model = load_model(base or weights, "float32", "cpu")
    if base is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, weights).eval()
    worst, tokens = 0.0, 0
    for episode in [e for t in trajectories for e in t.episodes if len(e.ids)]:
        with torch.no_grad():
            logits = model(torch.tensor([list(episode.ids)])).logits[0].float() / temperature
        logprobs = logits.log_softmax(-1)
        for place, (is_sampled, sampled) in enumerate(zip(episode.loss_mask, episode.logprobs, strict=True)):
            if is_sampled:
                worst = max(worst, abs(float(logprobs[place - 1, episode.ids[place]]) - sampled))
                tokens += 1
    assert tokens
    return worst


def failures(trajectories: list[Trajectory]) -> list[str]:
    return [episode.failed for t in trajectories for episode in t.episodes if episode.failed]
