"""How replies are sampled: sampling, the inference engine, threads and batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from codctl.config.consistency import MisfitError
from codctl.config.registries import ENGINES, NameIn
from codctl.config.schema.fields import (
    MOST_SECONDS,
    MOST_STEPS,
    MOST_TOKENS,
    Section,
    added,
    cosmetic,
    resource,
    training,
)
from codctl.quantities import counted


class SamplingConfig(Section):
    temperature: float = training(1.0, "Sampling temperature in training and evaluation.", ge=0.01, le=5)
    top_p: float = added(1.0, "Nucleus sampling: probability mass to sample from; training needs 1.", ge=0.001, le=1)
    solve_tokens: int = training(512, "Most new tokens in one solve turn.", ge=1, le=MOST_TOKENS)
    update_tokens: int = training(1024, "Most new tokens in one update.", ge=1, le=MOST_TOKENS)
    suggested_tokens: int | None = added(
        None,
        "Length that the prompts of `full` suggest for a reply; null: a few sentences. Published: 1000 in training, "
        "1500 in evaluation.",
        ge=1,
        le=MOST_TOKENS,
    )
    answers: Literal["auto", "published", "strict"] = added(
        "auto",
        "Where an answer is read: `published`: one block anywhere in the reply; `strict`: only at its end, exactly as "
        "asked for; `auto`: strict in `compact`, else published.",
    )
    deadline_s: float = resource(
        600.0, "Longest wait for one reply before the episode counts as failed.", ge=1, le=MOST_SECONDS
    )


class EngineConfig(Section):
    """Who samples (`codctl docs scaling`)."""

    kind: Annotated[str, NameIn(ENGINES)] = added(
        "transformers", "`transformers` samples with the learner's own model, `vllm` and others beside it."
    )
    options: dict[str, str | int | float | bool] = resource({}, "Keys of the engine's own, where it has some.")
    servers: Annotated[tuple[str, ...], Field(strict=False)] = resource(
        (), "URLs of servers that run already; empty: codctl starts its own (vllm)."
    )
    placement: Literal["colocate", "disjoint"] = resource(
        "colocate",
        "An engine beside the learner shares its GPUs, taking turns, or has GPUs of its own.",
    )
    gpus: int = resource(0, "placement=disjoint: GPUs of each node that generate; the others train.", ge=0, le=64)
    tensor_parallel: int = resource(1, "GPUs of one engine (vllm).", ge=1, le=64)
    memory: float = resource(
        0.85, "Share of a GPU's memory for weights and KV cache of an engine (vllm).", ge=0.01, le=0.99
    )
    max_tokens: int | None = added(
        None, "Longest sequence of the engine, in tokens; null is the model's limit.", ge=16, le=MOST_TOKENS
    )
    start_s: float = resource(900.0, "Longest wait for an engine to start (vllm).", ge=1, le=MOST_SECONDS)
    restarts: int = resource(
        3, "Restarts of an engine (vllm), without a reply in between, before the run ends.", ge=0, le=1_000_000
    )
    weights_dir: str | None = resource(
        None, "Folder through which weights reach the engines; null is memory (/dev/shm) where there is one."
    )
    sync_every: int = added(1, "Rollout steps between two updates of the engine's weights.", ge=1, le=MOST_STEPS)
    overlap: bool = added(
        False, "Play the next step's packs while learning from this one's; the engine then keeps its own weights."
    )
    lead: int = added(
        0,
        "Groups of sync_every steps that are played ahead with older weights, so that no engine waits for the learner; "
        "needs overlap.",
        ge=0,
        le=64,
    )
    max_staleness: int = added(
        20,
        "Most steps between the weights that sampled a row and those that learn from it; older rows are dropped.",
        ge=0,
        le=MOST_STEPS,
    )

    @property
    def lags(self) -> bool:
        """Whether steps are played with weights that are older than the learner's."""
        return self.sync_every > 1 or self.overlap

    @property
    def oldest(self) -> int:
        """Most steps between the weights that sample a row and those that learn from it."""
        return (self.lead + 1) * self.sync_every - 1 + self.overlap

    @model_validator(mode="after")
    def _lead_has_overlap(self) -> EngineConfig:
        if self.lead and not self.overlap:
            raise MisfitError(
                "engine.lead",
                f"lead={self.lead} plays ahead while the learner learns, which overlap=false does not",
                "engine.overlap=true, or engine.lead=0",
            )
        return self

    @model_validator(mode="after")
    def _staleness_fits(self) -> EngineConfig:
        if self.oldest > self.max_staleness:
            lead = f", lead={self.lead}" if self.lead else ""
            raise MisfitError(
                "engine.max_staleness",
                f"sync_every={self.sync_every}{lead} and overlap={str(self.overlap).lower()} make rows "
                f"{counted(self.oldest, 'step')} old, max_staleness={self.max_staleness} drops them",
                f"engine.max_staleness={self.oldest}",
            )
        return self


class RuntimeConfig(Section):
    threads: int = resource(2, "CPU threads of the model; the same number gives the same bits.", ge=1, le=1024)
    processes: int = resource(
        1,
        "Processes, at most so many as threads, that share the work where a model is sampled from and trained on a CPU "
        "(elsewhere, and with engine.overlap, one); the same number gives the same bits.",
        ge=1,
        le=64,
    )
    max_batch: int = resource(256, "Most sequences in one forward pass of the engine.", ge=1, le=65_536)
    progress_s: float = cosmetic(10.0, "Seconds between progress lines outside a terminal.", ge=0.1, le=86_400)
