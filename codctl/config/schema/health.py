"""Health gates: what counts as a bad training step, and what happens then."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from codctl.config.schema.fields import MOST, MOST_PACKS, MOST_STEPS, Section, gate


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
        le=MOST,
    )


class GapMaxGate(Gate):
    limit: float | None = gate(None, "Largest such difference of a single token; null as for the mean.", gt=0, le=MOST)


class GapK3Gate(Gate):
    limit: float | None = gate(
        None, "Largest k3 estimate of KL(training ‖ sampling); null as for the mean.", gt=0, le=MOST
    )


class EntropyGate(Gate):
    limit: float = gate(0.002, "Least entropy, in nats per sampled token.", ge=0, le=100)


class SilentGroupsGate(Gate):
    limit: float = gate(0.99, "Largest share of groups without signal: all rollouts have the same return.", gt=0, le=1)


class AdvantageGate(Gate):
    limit: float = gate(0.9, "Largest |sum of advantage × tokens| of a kind, relative to its |terms|.", gt=0, le=1)


class GradNormGate(Gate):
    limit: float = gate(100.0, "Largest gradient norm, before clipping.", gt=0, le=MOST)


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
    packs: int = gate(16, "Packs played once before the first step of CoD-Train; 0 for none.", ge=0, le=MOST_PACKS)
    limit: float = gate(0.5, "Largest share of solve episodes, or of updates, that could not be read.", gt=0, le=1)
    action: Literal["off", "warn", "stop"] = gate("warn", "What happens above the limit; `off` plays no packs.")


class NonFiniteGate(Section):
    action: Literal["skip", "stop"] = gate("stop", "What happens when a loss, gradient or log-prob is NaN or infinite.")


class HealthConfig(Section):
    """Gates checked at every optimiser step."""

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
    look: LookGate = Field(
        default_factory=LookGate, description="Packs played before CoD-Train, to see whether replies can be read."
    )
    non_finite: NonFiniteGate = Field(default_factory=NonFiniteGate, description="No NaN and no infinity.")
    most_skips: int = gate(10, "Steps skipped in a row before the run ends.", ge=1, le=MOST_STEPS)
