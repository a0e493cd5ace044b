"""The closed, frozen schema of a recipe. A field's description is its help text.

Every field has a class (`CLASSES`), which says what another value means for a run that exists.
Every number has the bounds of the library that uses it, and is finite: what the schema lets through, runs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from codctl.config import consistency
from codctl.config.consistency import MisfitError
from codctl.config.credentials import has_credentials
from codctl.config.doors import CREDITS, ENGINES, LOSSES, NameIn
from codctl.config.names import NAME, refuse_reserved
from codctl.config.sbatch import check_option, minutes
from codctl.quantities import counted

FieldClass = Literal["training", "length", "gate", "evaluation", "resource", "cosmetic"]
CLASSES: dict[FieldClass, str] = {
    "training": "changes what is learned: another value makes another run",
    "length": "how far a run goes: a higher value continues the same run",
    "gate": "a check of each training step; it changes what is learned only with action=skip",
    "evaluation": "how the result is measured: another value evaluates the same run again",
    "resource": "where and how fast it runs: may change at any time",
    "cosmetic": "names, texts and where numbers are shown: may change at any time",
}

GpuName = Literal[
    "a10", "a100-40gb", "a100-80gb", "b200", "h100-80gb", "h200", "l4", "l40s", "rtx3090", "rtx4090"
]  # fmt: skip

_WORD = r"^[A-Za-z0-9_.,@+-]+$"

MOST_SEED = 2**32 - 1  # what numpy and the trainer of the warm start take
_MOST, _MOST_STEPS, _MOST_PACKS, _MOST_TOKENS, _MOST_SECONDS = 1e12, 10_000_000, 1_000_000, 10_000_000, 7 * 86_400.0
_Beta = Annotated[float, Field(ge=0, lt=1)]


def _field(kind: FieldClass, default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"class": kind}, **bounds)


def training(default: Any, description: str, **bounds: Any) -> Any:
    return _field("training", default, description, **bounds)


def evaluation(default: Any, description: str, **bounds: Any) -> Any:
    return _field("evaluation", default, description, **bounds)


def added(default: Any, description: str, kind: FieldClass = "training", **bounds: Any) -> Any:
    """A field that came later: at its default it is left out of the digest, so that older ones still hold."""
    field = _field(kind, default, description, **bounds)
    field.json_schema_extra["added"] = True
    return field


def gate(default: Any, description: str, **bounds: Any) -> Any:
    return added(default, description, "gate", **bounds)


def resource(default: Any, description: str, **bounds: Any) -> Any:
    return _field("resource", default, description, **bounds)


def cosmetic(default: Any, description: str, **bounds: Any) -> Any:
    return _field("cosmetic", default, description, **bounds)


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change, numbers are finite and no texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class WorldPart(Section):
    family: str = training("frozen_lake", "Family of worlds (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")
    variant: str | None = training(None, "Distribution of worlds; null is the family's first.")
    weight: float = training(1.0, "Share of the packs, relative to the other families.", ge=1e-6, le=1e6)


class WorldConfig(Section):
    family: str = training("frozen_lake", "Family of worlds to train on (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")
    variant: str | None = training(None, "Distribution of worlds; null is the family's first.")
    mixture: Annotated[tuple[WorldPart, ...], Field(strict=False)] = training(
        (), "Several families with weights; replaces family, preset and variant."
    )
    rendering: Literal["full", "terse", "compact"] = training(
        "full", "Prompt text: `full` for LLMs, `terse` for small pretrained ones, `compact` for tiny ones."
    )
    length: int = training(4, "Pack length S: tasks per world.", ge=1, le=64)

    @model_validator(mode="after")
    def _each_family_once(self) -> WorldConfig:
        names = [part.family for part in self.mixture]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the mixture has the family {twice} twice; results are kept by family")
        return self

    @property
    def parts(self) -> tuple[WorldPart, ...]:
        """The families with their weights; one when there is no mixture."""
        return self.mixture or (WorldPart(family=self.family, preset=self.preset, variant=self.variant),)


class BuildWorld(Section):
    family: str = training("frozen_lake", "Family of worlds (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")


class BuildConfig(Section):
    layers: int = training(2, "Transformer layers.", ge=1, le=512)
    width: int = training(128, "Hidden size.", ge=8, le=65_536)
    heads: int = training(4, "Attention heads.", ge=1, le=1024)
    kv_heads: int = training(4, "Key-value heads (must divide `heads`).", ge=1, le=1024)
    head_dim: int = training(32, "Size of one attention head, even.", ge=8, le=1024)
    ffn: int = training(384, "Width of the gated feed-forward layer.", ge=8, le=262_144)
    vocab: int = training(384, "Largest vocabulary of the tokenizer, trained on rendered packs.", ge=300, le=1_000_000)
    max_tokens: int = training(512, "Longest sequence, in tokens.", ge=64, le=_MOST_TOKENS)
    rope_theta: float = training(10000.0, "Base of the rotary positions; small for short contexts.", ge=2, le=1e12)
    tie_embeddings: bool = training(False, "Share input and output embeddings.")
    worlds: Annotated[tuple[BuildWorld, ...], Field(strict=False)] = added(
        (), "Worlds whose words the tokenizer knows; empty: those of the training."
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> BuildConfig:
        if self.heads % self.kv_heads:
            reason = f"heads={self.heads} is not a multiple of kv_heads={self.kv_heads}"
            raise MisfitError("model.build.kv_heads", reason, f"model.build.kv_heads={self.heads}, or a divisor of it")
        if self.head_dim % 2:
            reason = f"head_dim={self.head_dim} is odd; rotary positions need pairs"
            raise MisfitError("model.build.head_dim", reason, f"model.build.head_dim={self.head_dim - 1}")
        return self


class LoraConfig(Section):
    rank: int = training(0, "Rank of the LoRA adapters; 0 trains all weights.", ge=0, le=4096)
    alpha: float = training(16.0, "LoRA scale (the update is scaled by alpha / rank).", ge=1e-6, le=1e6)
    target: str = training("all-linear", "Modules that get adapters, as PEFT names them.")


class ModelConfig(Section):
    path: str | None = training(
        None, "Hugging Face folder or hub id to start from; null builds the tiny Qwen3 of `model.build`."
    )
    revision: str | None = added(None, "Commit or tag of the hub id in `model.path`; null is its newest.")
    init: Literal["weights", "random"] = added(
        "weights", "`random` builds the architecture of `model.path` without its weights: for smoke tests and speed."
    )
    build: BuildConfig = Field(
        default_factory=BuildConfig, description="Size of the model that is built when `model.path` is null."
    )
    lora: LoraConfig = Field(
        default_factory=LoraConfig, description="LoRA adapters for warm start and CoD-Train (PEFT)."
    )
    dtype: Literal["float32", "bfloat16"] = training(
        "float32", "Data type of the computation and of frozen weights; trained weights are float32."
    )
    attention: Literal["auto", "sdpa", "eager", "varlen", "flash_attention_2"] = resource(
        "auto", "Attention; `varlen` needs no padding; `auto`: in bfloat16 varlen on GPUs and eager on CPUs, else sdpa."
    )
    device: Literal["auto", "cpu", "cuda"] = resource("auto", "Where the model runs.")

    @model_validator(mode="after")
    def _has_a_path(self) -> ModelConfig:
        if self.path is None and self.revision is not None:
            raise ValueError("revision needs a hub id in model.path, which is null")
        if self.path is None and self.init == "random":
            raise ValueError("init=random needs an architecture in model.path, which is null")
        return self


class ContextConfig(Section):
    on_parse_failure: Literal["keep", "wipe"] = training(
        "keep", "What a malformed update does to the hints (`wipe` in the paper)."
    )
    parse_failure_reward: float = training(-0.1, "Reward of a malformed update.", ge=-1000, le=0)
    max_chars: int = training(4000, "Longest hint text; longer counts as malformed.", ge=16, le=10_000_000)


class SamplingConfig(Section):
    temperature: float = training(1.0, "Sampling temperature in training and evaluation.", ge=0.01, le=5)
    top_p: float = added(1.0, "Nucleus sampling: probability mass to sample from; training needs 1.", ge=0.001, le=1)
    solve_tokens: int = training(512, "Most new tokens in one solve turn.", ge=1, le=_MOST_TOKENS)
    update_tokens: int = training(1024, "Most new tokens in one update.", ge=1, le=_MOST_TOKENS)
    suggested_tokens: int | None = added(
        None,
        "Length that the prompts of `full` suggest for a reply; null: a few sentences. Published: 1000 in training, "
        "1500 in evaluation.",
        ge=1,
        le=_MOST_TOKENS,
    )
    answers: Literal["auto", "published", "strict"] = added(
        "auto",
        "Where an answer is read: `published`: one block anywhere in the reply; `strict`: only at its end, exactly as "
        "asked for; `auto`: strict in `compact`, else published.",
    )
    deadline_s: float = resource(
        600.0, "Longest wait for one reply before the episode counts as failed.", ge=1, le=_MOST_SECONDS
    )


class WarmStartConfig(Section):
    enabled: bool = training(True, "Run SFT on demonstrations before CoD-Train.")
    demonstrations: str | None = added(
        None, "Folder that `codctl env demonstrate` wrote; null plays the family's scripted demonstrator."
    )
    scripted_share: float = added(
        0.0, "With a folder: share of the episodes that the scripted demonstrator adds.", ge=0, le=0.99
    )
    packs: int = training(1500, "Packs of demonstrations, the most where there is a folder.", ge=1, le=1_000_000)
    epochs: int = training(1, "Passes over the demonstrations.", ge=1, le=1000)
    batch_rows: int = training(64, "Episodes per optimiser step.", ge=1, le=100_000)
    lr: float | None = training(
        None,
        "Learning rate, falling to 0 over the last third; null: 2e-3 for a model that codctl builds, and for a "
        "pretrained one 2e-4 with LoRA, else 2e-5.",
        gt=0,
        le=1,
    )
    keep_fact: float = training(0.35, "Probability that a demonstrated update keeps a fact it knows.", ge=0, le=1)
    wrong_fact: float = training(0.1, "Probability that a demonstrated update adds a wrong fact.", ge=0, le=1)
    checkpoint_s: float = resource(
        120.0, "Seconds between sealed checkpoints of the warm start.", ge=0, le=_MOST_SECONDS
    )


class RewardConfig(Section):
    turn_penalty: float = training(0.1, "Shaping: penalty × turns used / turn budget, only on success.", ge=0, le=1)


class CreditConfig(Section):
    returns: Annotated[str, NameIn(CREDITS)] = training(
        "mean_to_go", "How rewards become returns; the first three as published."
    )
    baseline: Literal["mean", "leave_one_out"] = added(
        "mean", "What returns are compared with: the mean of the group, or of its other rollouts (RLOO)."
    )
    window: int = training(2, "Rewards in the sliding window (returns=window, window_of_tasks).", ge=1, le=64)
    discount: float = training(0.9, "Discount per position (returns=discounted, discounted_tasks).", ge=0, le=1)
    scale_by_std: bool = training(False, "Divide advantages by the group's standard deviation.")
    options: dict[str, str | int | float | bool] = added({}, "Further settings of a return rule of your own.")


class LossConfig(Section):
    kind: Annotated[str, NameIn(LOSSES)] = training(
        "rec", "`rec` (paper: no importance weight, one-sided bound), `grpo`, `gspo`, `cispo`, or a loss of your own."
    )
    clip: float = training(0.2, "Bound on the ratio to the sampling policy.", gt=0, lt=1)
    clip_high: float | None = added(None, "Bound above the ratio 1; null is `clip`.", gt=0, le=1000)
    kl: float = added(0.0, "Weight of the KL penalty to the model that CoD-Train starts from.", ge=0, le=1000)
    reference: bool = added(False, "Give the loss that model's log-probs even where kl is 0; for a loss of your own.")
    options: dict[str, str | int | float | bool] = added({}, "Further settings of a loss of your own.")
    red: bool = training(True, "RED weights: rescale advantages when their token-weighted sum is negative.")
    mean: Literal["token", "episode"] = training("token", "Average over tokens, or over episodes of token means.")

    @property
    def needs_reference(self) -> bool:
        """Whether the learner keeps a copy of the start model's trained weights."""
        return self.kl > 0 or self.reference


class TrainConfig(Section):
    enabled: bool = training(True, "Run CoD-Train.")
    steps: int = _field("length", 100, "Rollout steps.", ge=0, le=_MOST_STEPS)
    packs: int = training(16, "Packs per rollout step.", ge=1, le=10_000)
    rollouts: int = training(8, "Rollouts G per pack (the group).", ge=1, le=1024)
    optimizer_steps: int = training(1, "Optimiser steps per rollout step.", ge=1, le=1000)
    lr: float = training(1e-6, "Peak learning rate.", gt=0, le=1)
    lr_schedule: Literal["constant", "linear", "cosine"] = training(
        "constant", "Shape of the learning rate after warm-up."
    )
    lr_warmup_steps: int = training(0, "Rollout steps over which the learning rate rises.", ge=0, le=_MOST_STEPS)
    betas: Annotated[tuple[_Beta, _Beta], Field(strict=False)] = training((0.9, 0.999), "AdamW betas.")
    weight_decay: float = training(0.0, "AdamW weight decay.", ge=0, le=10)
    grad_clip: float | None = training(1.0, "Largest gradient norm; null does not clip.", ge=1e-6, le=1e6)
    micro_batch_tokens: int = resource(
        8192, "Token budget of a learner micro-batch, padding included.", ge=64, le=100_000_000
    )
    logprob_chunk: int = resource(
        4096, "Sampled tokens of a micro-batch whose logits exist at the same time.", ge=1, le=100_000_000
    )
    activation_checkpointing: bool = resource(
        False, "Compute activations again in the backward pass instead of keeping them."
    )
    strategy: Literal["auto", "ddp", "fsdp"] = resource(
        "auto", "Several learner processes: full copies (ddp) or shards (fsdp); auto shards full fine-tunes."
    )
    checkpoint_every: int = resource(10, "Steps between sealed checkpoints.", ge=1, le=_MOST_STEPS)
    checkpoints_kept: int | None = resource(
        2,
        "How many of the newest checkpoints are kept; null keeps all. A warm start keeps two at most.",
        ge=1,
        le=_MOST_STEPS,
    )
    reward: RewardConfig = Field(default_factory=RewardConfig, description="Shaping of the solve reward.")
    credit: CreditConfig = Field(default_factory=CreditConfig, description="Returns and advantages.")
    loss: LossConfig = Field(default_factory=LossConfig, description="Policy loss.")


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
        None, "Longest sequence of the engine, in tokens; null is the model's limit.", ge=16, le=_MOST_TOKENS
    )
    start_s: float = resource(900.0, "Longest wait for an engine to start (vllm).", ge=1, le=_MOST_SECONDS)
    restarts: int = resource(
        3, "Restarts of an engine (vllm), without a reply in between, before the run ends.", ge=0, le=1_000_000
    )
    weights_dir: str | None = resource(
        None, "Folder through which weights reach the engines; null is memory (/dev/shm) where there is one."
    )
    sync_every: int = added(1, "Rollout steps between two updates of the engine's weights.", ge=1, le=_MOST_STEPS)
    overlap: bool = added(
        False, "Play the next step's packs while learning from this one's; the engine then keeps its own weights."
    )
    max_staleness: int = added(
        20,
        "Most steps between the weights that sampled a row and those that learn from it; older rows are dropped.",
        ge=0,
        le=_MOST_STEPS,
    )

    @property
    def lags(self) -> bool:
        """Whether steps are played with weights that are older than the learner's."""
        return self.sync_every > 1 or self.overlap

    @model_validator(mode="after")
    def _staleness_fits(self) -> EngineConfig:
        least = self.sync_every - 1 + self.overlap
        if least > self.max_staleness:
            raise MisfitError(
                "engine.max_staleness",
                f"sync_every={self.sync_every} and overlap={str(self.overlap).lower()} make rows "
                f"{counted(least, 'step')} old, max_staleness={self.max_staleness} drops them",
                f"engine.max_staleness={least}",
            )
        return self


class Gate(Section):
    """One quantity that a training is judged by at each step."""

    limit: float | None = gate(None, "Where the gate opens.")
    action: Literal["off", "warn", "skip", "stop"] = gate(
        "warn", "What an open gate does: nothing, warn, skip the optimiser step, or stop the run."
    )


class GapMeanGate(Gate):
    limit: float | None = gate(
        None,
        "Largest mean |sampling − training log-prob|; null follows dtype and staleness.",
        gt=0,
        le=_MOST,
    )


class GapMaxGate(Gate):
    limit: float | None = gate(None, "Largest such difference of a single token; null as for the mean.", gt=0, le=_MOST)


class GapK3Gate(Gate):
    limit: float | None = gate(
        None, "Largest k3 estimate of KL(training ‖ sampling); null as for the mean.", gt=0, le=_MOST
    )


class EntropyGate(Gate):
    limit: float = gate(0.002, "Least entropy, in nats per sampled token.", ge=0, le=100)


class SilentGroupsGate(Gate):
    limit: float = gate(0.99, "Largest share of groups without signal: all rollouts have the same return.", gt=0, le=1)


class AdvantageGate(Gate):
    limit: float = gate(0.9, "Largest |sum of advantage × tokens| of a kind, relative to its |terms|.", gt=0, le=1)


class GradNormGate(Gate):
    limit: float = gate(100.0, "Largest gradient norm, before clipping.", gt=0, le=_MOST)


class UnreadableRepliesGate(Gate):
    limit: float = gate(0.5, "Largest share of solve episodes that a reply ends that could not be read.", gt=0, le=1)


class UnreadableUpdatesGate(Gate):
    limit: float = gate(0.5, "Largest share of updates that could not be read.", gt=0, le=1)


class CutRepliesGate(Gate):
    limit: float = gate(0.5, "Largest share of episodes that a reply ends that was cut at its token limit.", gt=0, le=1)


class MemoryGate(Section):
    limit: float = gate(
        1.2, "Largest growth since the first steps of an attempt while memory keeps rising.", gt=1, le=1000
    )
    action: Literal["off", "warn"] = gate("warn", "What an open gate does: nothing, or warn.")


class LookGate(Section):
    packs: int = gate(16, "Packs played once before the first step of CoD-Train; 0 for none.", ge=0, le=_MOST_PACKS)
    limit: float = gate(0.5, "Largest share of solve episodes, or of updates, that could not be read.", gt=0, le=1)
    action: Literal["off", "warn", "stop"] = gate("warn", "What happens above the limit; `off` plays no packs.")


class NonFiniteGate(Section):
    action: Literal["skip", "stop"] = gate("stop", "What happens when a loss, gradient or log-prob is NaN or infinite.")


class HealthConfig(Section):
    """Gates checked at every optimiser step (codctl/learner/health.py)."""

    gap_mean: GapMeanGate = Field(
        default_factory=GapMeanGate, description="Mean gap of sampling and training log-probs."
    )
    gap_max: GapMaxGate = Field(default_factory=GapMaxGate, description="Largest gap of a single token.")
    gap_k3: GapK3Gate = Field(default_factory=GapK3Gate, description="k3 divergence of training from sampling.")
    entropy: EntropyGate = Field(default_factory=EntropyGate, description="Entropy of the policy.")
    silent_groups: SilentGroupsGate = Field(
        default_factory=SilentGroupsGate, description="Share of groups without signal."
    )
    advantage_sum: AdvantageGate = Field(
        default_factory=AdvantageGate, description="Token-weighted sum of advantages near zero."
    )
    grad_norm: GradNormGate = Field(default_factory=GradNormGate, description="Gradient norm.")
    unreadable_replies: UnreadableRepliesGate = Field(
        default_factory=UnreadableRepliesGate, description="Share of solve replies that could not be read."
    )
    unreadable_updates: UnreadableUpdatesGate = Field(
        default_factory=UnreadableUpdatesGate, description="Share of updates that could not be read."
    )
    cut_replies: CutRepliesGate = Field(default_factory=CutRepliesGate, description="Share of replies that were cut.")
    memory: MemoryGate = Field(
        default_factory=MemoryGate, description="Resident memory, and reserved memory of a GPU, that keep rising."
    )
    look: LookGate = Field(default_factory=LookGate, description="A look at the model before CoD-Train.")
    non_finite: NonFiniteGate = Field(default_factory=NonFiniteGate, description="No NaN and no infinity.")
    most_skips: int = gate(10, "Steps skipped in a row before the run ends.", ge=1, le=_MOST_STEPS)


class EvaluationConfig(Section):
    enabled: bool = added(True, "Evaluate during and after the training.", "evaluation")
    every: int = evaluation(0, "Steps between evaluations on validation packs; 0 for none.", ge=0, le=_MOST_STEPS)
    every_packs: int = evaluation(100, "Validation packs of a periodic evaluation.", ge=1, le=_MOST_PACKS)
    packs: int = evaluation(500, "Held-out test packs of the final evaluation.", ge=2, le=_MOST_PACKS)
    arms: Annotated[tuple[str, ...], Field(strict=False)] = evaluation(
        ("own", "none", "shuffled", "oracle", "history"), "Control contexts of the final evaluation.", min_length=1
    )
    long_length: int = evaluation(8, "Second pack length of the final evaluation; 0 for none.", ge=0, le=64)


class TrackingConfig(Section):
    mlflow: bool = cosmetic(True, "Send copies of numbers, settings, evaluations and small files to MLflow.")
    mlflow_uri: str | None = cosmetic(
        None, "MLflow tracking URI; null is that of MLFLOW_TRACKING_URI, else a sqlite file in the runs folder."
    )
    experiment: str = cosmetic("codctl", "MLflow experiment.")
    sinks: Annotated[tuple[str, ...], Field(strict=False)] = cosmetic(
        (), "Trackers beside MLflow: wandb, tensorboard, or one of a plug-in."
    )
    options: dict[str, dict[str, str | int | float | bool]] = cosmetic(
        {}, "What a tracker takes, by its name: `wandb: {project: lake, mode: offline}`."
    )
    trajectories_every: int = resource(10, "Steps between stored rollouts, token for token.", ge=1, le=_MOST_STEPS)
    trajectory_packs: int = resource(
        1000, "Packs of each evaluation and stored step whose texts are kept for `codctl view`.", ge=0, le=_MOST_PACKS
    )

    @field_validator("mlflow_uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        if uri and has_credentials(uri):
            raise ValueError(
                "it holds a user or password, and runs keep their settings in plain files; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        return uri


class RuntimeConfig(Section):
    threads: int = resource(2, "CPU threads of the model; the same number gives the same bits.", ge=1, le=1024)
    max_batch: int = resource(256, "Most sequences in one forward pass of the engine.", ge=1, le=65_536)
    progress_s: float = cosmetic(10.0, "Seconds between progress lines outside a terminal.", ge=0.1, le=86_400)


class ClusterConfig(Section):
    """Where and how long a SLURM job runs. `cluster=NAME` takes a profile (`codctl docs slurm`)."""

    partition: str | None = resource(None, "Partition; null is the cluster's default.", pattern=_WORD)
    account: str | None = resource(None, "Account that pays; null is yours.", pattern=_WORD)
    qos: str | None = resource(None, "Quality of service; null is the partition's.", pattern=_WORD)
    nodes: int = resource(1, "Nodes of one job.", ge=1, le=10_000)
    processes_per_node: int = resource(
        1, "Learner processes of one run on each node, with or without SLURM.", ge=1, le=64
    )
    gpus_per_node: int = resource(0, "GPUs of one job on each node.", ge=0, le=64)
    gpu: GpuName | None = resource(None, "Kind of GPU to plan for; null is the one of this machine, else h100-80gb.")
    cpus_per_task: int = resource(2, "Cores of one job on each node; no fewer than `runtime.threads`.", ge=1, le=4096)
    mem: str | None = resource(
        None, "Memory on each node, such as 16G; null is the cluster's.", pattern=r"^\d{1,9}[KMGT]?$"
    )
    time: str | int = resource("1:00:00", 'Time limit of one job: "H:MM:SS", "D-HH:MM:SS" or minutes.')
    constraint: str | None = resource(None, "Features that a node must have, as sbatch writes them.", pattern=r"^\S+$")
    requeue: bool = resource(True, "Requeue the job after pre-emption and at the time limit.")
    chain: int = resource(
        1, "Jobs in a chain, each continuing the one before, for clusters without requeueing.", ge=1, le=1000
    )
    signal_delay_s: int = resource(300, "Seconds before the time limit at which a run starts to save.", ge=1, le=65_535)
    max_attempts: int = resource(100, "Attempts of one submission before it counts as failed.", ge=1, le=1_000_000)
    stalled_attempts: int = resource(
        3, "Attempts in a row without progress before it counts as failed.", ge=1, le=1_000_000
    )
    max_parallel: int | None = resource(
        None, "Most trials of a sweep that run at once; null is no limit.", ge=1, le=1_000_000
    )
    setup: Annotated[tuple[str, ...], Field(strict=False)] = resource(
        (), "Shell lines of the job script, such as `module load cuda`."
    )
    extras: dict[str, str | int | bool] = resource(
        {}, "Further sbatch options by their long names, such as reservation."
    )

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, time: str | int) -> str | int:
        minutes(time)
        return time

    @field_validator("extras", mode="before")
    @classmethod
    def _are_options(cls, extras: Any) -> Any:
        for name, value in extras.items() if isinstance(extras, dict) else ():
            check_option(name, value)
        return extras

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes, rounded up, as SLURM counts."""
        return minutes(self.time)


class Config(Section):
    """A recipe: what `codctl train` runs."""

    name: str = cosmetic("run", "Name of the run's folder.", pattern=NAME)
    description: str = cosmetic("", "What the recipe shows.")
    seed: int = training(0, "Root seed of everything random.", ge=0, le=MOST_SEED)
    world: WorldConfig = Field(default_factory=WorldConfig, description="The worlds to train on.")
    model: ModelConfig = Field(default_factory=ModelConfig, description="The model to train.")
    context: ContextConfig = Field(default_factory=ContextConfig, description="How hints are read and kept.")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="How replies are sampled.")
    warm_start: WarmStartConfig = Field(
        default_factory=WarmStartConfig, description="Supervised fine-tuning before RL."
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="CoD-Train, the RL stage.")
    engine: EngineConfig = Field(default_factory=EngineConfig, description="The inference engine.")
    health: HealthConfig = Field(
        default_factory=HealthConfig, description="Health gates: what counts as a bad step, and what happens then."
    )
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="Evaluations before, during and after training."
    )
    tracking: TrackingConfig = Field(default_factory=TrackingConfig, description="Where metrics go.")
    runtime: RuntimeConfig = Field(
        default_factory=RuntimeConfig, description="Threads, batches and progress on this machine."
    )
    cluster: ClusterConfig = Field(default_factory=ClusterConfig, description="How it runs on SLURM (`--slurm`).")

    _name_is_not_reserved = field_validator("name")(refuse_reserved)

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Config:
        consistency.check(self)
        return self
