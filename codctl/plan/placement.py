"""Which GPUs of a node generate and which train, by the recipe alone: nothing is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from codctl.config.registries import ENGINES
from codctl.config.schema import Config
from codctl.engines.provider import EngineProvider, provider_of
from codctl.errors import PreflightError
from codctl.quantities import counted


@dataclass(frozen=True)
class Placement:
    """Where the processes of a run are.

    Attributes:
        engines: The GPUs of each engine of a node, by their places there. Empty for an engine on a CPU, or one that
            shares the learner's model.
        learners: The GPU of each learner process of a node; None for a process that takes what `model.device` says.
        nodes: Nodes, each with as many learner processes.
        engine_nodes: Of these, the first that have engines: all, or one where engines are not codctl's to start.
        teachers: The GPUs of each place for an engine of a teacher, on the first node. Empty without GPUs, and for
            teachers in the process of the learner.
    """

    engines: tuple[tuple[int, ...], ...]
    learners: tuple[int | None, ...]
    nodes: int = 1
    engine_nodes: int = 1
    teachers: tuple[tuple[int, ...], ...] = ()

    @property
    def processes(self) -> int:
        """Learner processes on all nodes."""
        return self.nodes * len(self.learners)

    @property
    def replicas(self) -> int:
        """Engines on all nodes; one that has no GPUs by the recipe counts too."""
        return self.engine_nodes * max(1, len(self.engines))


def place(config: Config) -> Placement:
    """Share out the GPUs that the recipe asks for (`cluster.gpus_per_node`; 0 leaves everything on one device).

    Raises:
        PreflightError: More is to be placed than there is.
    """
    cluster, engine = config.cluster, config.engine
    gpus, processes = cluster.gpus_per_node, cluster.processes_per_node
    if config.model.device == "cuda" and not gpus and processes > 1:
        raise PreflightError(
            f"{processes} learner processes need a GPU each, and the recipe asks for none",
            where="cluster.gpus_per_node",
            hint=f"cluster.gpus_per_node={processes}, or model.device=cpu",
        )
    provider = provider_of(config)
    takes = provider.takes_gpus(config)
    engine_nodes = cluster.nodes if takes else 1
    if config.model.device == "cpu" or not gpus:
        return Placement((), (None,) * processes, cluster.nodes, engine_nodes)
    first = 0 if provider.in_process or engine.placement != "disjoint" else engine.gpus
    if takes and engine.placement == "disjoint" and not first:
        raise PreflightError(
            "the engines have no GPU of their own",
            where="engine.gpus",
            hint="engine.gpus=N, or engine.placement=colocate",
        )
    if first >= gpus:
        raise PreflightError(
            f"{first} of {counted(gpus, 'GPU')} generate, which leaves none to train",
            where="engine.gpus",
            hint=f"engine.gpus={gpus - 1} at most, or a larger cluster.gpus_per_node",
        )
    apart = config.distill.gpus if config.distill.teachers else 0
    if first + apart + processes > gpus:
        left = gpus - first - apart
        raise PreflightError(
            f"{processes} learner processes do not fit on {counted(max(0, left), 'GPU')}",
            where="cluster.processes_per_node" if left > 0 else "distill.gpus",
            hint=f"cluster.processes_per_node={left}" if left > 0 else "fewer distill.gpus, or more of the node",
        )
    generating = first or gpus
    if not takes:
        engines: tuple[tuple[int, ...], ...] = ()
    elif generating % engine.tensor_parallel:
        raise PreflightError(
            f"engines of {counted(engine.tensor_parallel, 'GPU')} do not fill {generating}",
            where="engine.tensor_parallel",
            hint="choose one that divides the GPUs that generate",
        )
    else:
        of_each = engine.tensor_parallel
        engines = tuple(tuple(range(i, i + of_each)) for i in range(0, generating, of_each))
    learners = range(first, first + processes)
    return Placement(engines, tuple(learners), cluster.nodes, engine_nodes, _teachers(config, learners, gpus))


def _teachers(config: Config, learners: range, gpus: int) -> tuple[tuple[int, ...], ...]:
    """The last GPUs of a node, or those of the learner; each place has as many as an engine takes."""
    if not config.distill.teachers or teacher_engine(config).in_process:
        return ()
    apart, each = config.distill.gpus, config.distill.tensor_parallel
    pool = range(gpus - apart, gpus) if apart else learners
    if len(pool) < each:
        raise PreflightError(
            f"an engine of a teacher takes {counted(each, 'GPU')}, there are {len(pool)}",
            where="distill.gpus",
            hint=f"distill.gpus={each}, or a smaller distill.tensor_parallel",
        )
    return tuple(tuple(pool[i : i + each]) for i in range(0, len(pool) - each + 1, each))


def teacher_engine(config: Config) -> EngineProvider:
    """What scores for the teachers of a recipe."""
    return cast("EngineProvider", ENGINES.get(config.teacher_kind))


def teachers_config(config: Config, *, shares: bool = True) -> Config:
    """The recipe as the engines of teachers see it.

    Args:
        config: Recipe.
        shares: Whether their GPUs are others' too, so that they sleep.
    """
    distill = config.distill
    engine = config.engine.model_copy(
        update={
            "kind": config.teacher_kind,
            "servers": (),
            "placement": "colocate" if shares else "disjoint",
            "tensor_parallel": distill.tensor_parallel,
        }
    )
    model = config.model.model_copy(update={"lora": config.model.lora.model_copy(update={"rank": 0})})
    return config.model_copy(update={"engine": engine, "model": model})
