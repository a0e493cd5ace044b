"""The closed, frozen schema of a recipe, a file for each owner; `Config` is the whole of it."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from codctl.config import consistency
from codctl.config.names import NAME, refuse_reserved
from codctl.config.schema.cluster import ClusterConfig, GpuName
from codctl.config.schema.distill import DistillConfig, TeacherConfig
from codctl.config.schema.engine import EngineConfig, RuntimeConfig, SamplingConfig
from codctl.config.schema.evaluation import EvaluationConfig
from codctl.config.schema.fields import CLASSES, MOST_SEED, FieldClass, Section, cosmetic, evaluation, training
from codctl.config.schema.health import HealthConfig, MemoryGate
from codctl.config.schema.model import BuildConfig, LoraConfig, ModelConfig
from codctl.config.schema.tracking import TrackingConfig
from codctl.config.schema.train import CreditConfig, LossConfig, TrainConfig, WarmStartConfig
from codctl.config.schema.world import ContextConfig, MixtureRef, WorldConfig, WorldRef


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
    distill: DistillConfig = Field(
        default_factory=DistillConfig, description="Teachers, where CoD-Train learns from them."
    )
    engine: EngineConfig = Field(default_factory=EngineConfig, description="The inference engine.")
    health: HealthConfig = Field(
        default_factory=HealthConfig, description="Health gates: what counts as a bad step, and what happens then."
    )
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="Evaluations before, during and after training."
    )
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description="Trackers, and what is stored of the rollouts."
    )
    runtime: RuntimeConfig = Field(
        default_factory=RuntimeConfig, description="Threads, batches and progress on this machine."
    )
    cluster: ClusterConfig = Field(default_factory=ClusterConfig, description="How it runs on SLURM (`--slurm`).")

    @property
    def teacher_kind(self) -> str:
        """The engine of teachers."""
        return self.engine.kind if self.distill.engine == "same" else self.distill.engine

    @property
    def stage(self) -> str:
        """What its training is called."""
        return "distillation" if self.distill.teachers else "CoD-Train"

    _name_is_not_reserved = field_validator("name")(refuse_reserved)

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Config:
        consistency.check(self)
        return self


__all__ = [
    "CLASSES",
    "MOST_SEED",
    "BuildConfig",
    "ClusterConfig",
    "Config",
    "CreditConfig",
    "DistillConfig",
    "EngineConfig",
    "FieldClass",
    "GpuName",
    "LoraConfig",
    "LossConfig",
    "MemoryGate",
    "MixtureRef",
    "ModelConfig",
    "RuntimeConfig",
    "SamplingConfig",
    "Section",
    "TeacherConfig",
    "TrackingConfig",
    "TrainConfig",
    "WarmStartConfig",
    "WorldConfig",
    "WorldRef",
    "cosmetic",
    "evaluation",
    "training",
]
