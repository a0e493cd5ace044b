"""vLLM as an engine: servers that codctl starts, or servers by URL. Nothing heavy is imported before it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from codctl.config.consistency import TARGET_HINT, MisfitError, targets_head
from codctl.config.schema import Config, Section
from codctl.config.schema.fields import resource
from codctl.engines.provider import EngineProvider, KvSpace, ModelSize, Opening, Part, on_gpus
from codctl.engines.vllm.settings import RANKS, check_installed, settings_of
from codctl.quantities import counted

if TYPE_CHECKING:
    from codctl.engines.replicas import Replicas

_GIB = 1 << 30
WORK = 2 * _GIB  # beside weights and KV cache: CUDA context and graphs, a forward pass of 8k tokens
_ADAPTERS = 2  # held at the same time: the one in use and the next


class VllmOptions(Section):
    """`engine.options` of vLLM."""

    weights: Literal["files", "direct"] = resource(
        "files",
        "How full weights reach an engine on the learner's node: through files in memory, or `direct` from GPU to GPU; "
        "the files are written all the same, for engines that start again.",
    )


class Vllm(EngineProvider):
    """See the module."""

    title = "vLLM"
    scores = True
    options = VllmOptions

    def check(self, config: Config) -> None:
        self._check_direct(config)
        rank, target = config.model.lora.rank, config.model.lora.target
        if rank and rank not in RANKS:
            nearest = min(RANKS, key=lambda taken: abs(taken - rank))
            known = ", ".join(map(str, RANKS))
            raise MisfitError(
                "model.lora.rank", f"vLLM supports the ranks {known}, got {rank}", f"model.lora.rank={nearest}"
            )
        if rank and targets_head(target):
            raise MisfitError(
                "model.lora.target",
                f'vLLM does not support adapters on the output head or the embeddings, which "{target}" matches',
                TARGET_HINT,
            )

    def _check_direct(self, config: Config) -> None:
        if not self.is_sent_to(config):
            return
        engine, key = config.engine, "engine.options.weights"
        if config.model.lora.rank:
            raise MisfitError(key, "adapters are small: they always go through files", "engine.options.weights=files")
        if engine.servers:
            raise MisfitError(
                key, "servers by URL read weights from files", "engine.options.weights=files, or engine.servers=[]"
            )
        if engine.placement == "colocate" and config.cluster.gpus_per_node:
            raise MisfitError(
                key,
                "NCCL does not send to the GPU that it sends from",
                "engine.placement=disjoint, or engine.options.weights=files",
            )

    def check_machine(self, config: Config) -> None:
        if not config.engine.servers:
            check_installed()

    def version(self) -> str:
        try:
            return metadata.version("vllm")
        except metadata.PackageNotFoundError:
            return "not installed (an extra; the transformers engine needs none)"

    def takes_gpus(self, config: Config) -> bool:
        return not config.engine.servers

    def memory(self, config: Config, model: ModelSize, gpu: int) -> tuple[list[Part], KvSpace | None]:
        """`engine.memory` of the GPU, of which the KV cache gets what weights and work leave."""
        split = config.engine.tensor_parallel
        weights = model.number * (model.parameters + model.adapter * _ADAPTERS) // split
        cache = max(0, round(config.engine.memory * gpu) - weights - WORK)
        of_token = model.kv_bytes // min(split, model.kv_heads)
        space = KvSpace(cache, cache // of_token, model.context)
        shown = f"{model.parameters:,} × {model.number} B{' and adapters' if model.adapter else ''}"
        share = f"the rest of {config.engine.memory:g} of the GPU: {space.tokens:,} tokens × {of_token:,} B"
        parts = [
            Part("weights", weights, f"{shown} ÷ {split} GPUs" if split > 1 else shown),
            Part("engine", WORK, "assumed: CUDA context and graphs, one forward pass"),
            Part("KV cache", cache, share),
        ]
        return parts, space

    def smaller(self, config: Config) -> Iterator[tuple[str, Any]]:
        engine, generating = config.engine, config.engine.gpus or config.cluster.gpus_per_node
        if engine.placement == "colocate":
            yield from (("engine.memory", share) for share in (0.7, 0.5, 0.35) if share < engine.memory)
        elif engine.memory < 0.9:
            yield "engine.memory", 0.92
        if generating and generating % (2 * engine.tensor_parallel) == 0:
            yield "engine.tensor_parallel", 2 * engine.tensor_parallel
        most = engine.max_tokens or 1 << 30
        yield from (("engine.max_tokens", limit) for limit in (32_768, 16_384, 8_192) if limit < most)

    def is_sent_to(self, config: Config) -> bool:
        return bool(self.read_options(config).weights == "direct")

    def where(self, config: Config, gpus: tuple[tuple[int, ...], ...]) -> str:
        engine = config.engine
        if engine.servers:
            return f"vllm, {counted(len(engine.servers), 'server')}, started outside codctl"
        if not gpus:
            return f"vllm, one engine on the CPU{_on_each_node(config)}"
        return f"vllm, {engine.placement}: {on_gpus(config, gpus)}{_on_each_node(config)}"

    def open(self, opening: Opening) -> Replicas:
        """Several servers write to numbered logs, such as vllm-0.log for vllm.log."""
        from codctl.engines.replicas import Replicas
        from codctl.engines.vllm.engine import VllmEngine

        config, log = opening.config, opening.log
        settings = settings_of(
            config,
            opening.folder,
            base=opening.base,
            on_gpus=bool(opening.gpus),
            top=opening.top,
            is_direct=self.is_sent_to(config),
        )
        if config.engine.servers:
            from codctl.engines.vllm.remote import Remote

            return Replicas([VllmEngine(Remote(url, settings), settings) for url in config.engine.servers])
        check_installed()
        from codctl.engines.vllm.served import Served

        gpus = opening.gpus or ((),)
        logs = [log if len(gpus) == 1 else log.with_stem(f"{log.stem}-{i}") for i in range(len(gpus))]
        backends = [Served(i, settings, own, path) for i, (own, path) in enumerate(zip(gpus, logs, strict=True))]
        return Replicas([VllmEngine(backend, settings) for backend in backends])


def _on_each_node(config: Config) -> str:
    return f" of each of {config.cluster.nodes} nodes" if config.cluster.nodes > 1 else ""
