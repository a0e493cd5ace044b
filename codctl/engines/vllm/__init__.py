"""vLLM as the engine: servers that codctl starts, or servers by URL.

Nothing heavy is imported before an engine is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.engines.vllm.engine import VllmEngine

__all__ = ["open_vllm"]


def open_vllm(
    config: Config, folder: Path, *, engines: tuple[tuple[int, ...], ...], log: Path, base: Path | None = None
) -> VllmEngine:
    """An engine that samples with a model folder; nothing runs before `await engine.start()`.

    Args:
        config: Recipe; its sections engine, model, runtime and sampling are read.
        folder: Hugging Face folder, or a PEFT adapter's folder, whose base model is then served with it.
        engines: The GPUs of each engine on this machine (`Placement.engines`); empty for one on what there is.
        log: Where servers write; several get numbers, such as vllm-0.log for vllm.log.
        base: Folder of an adapter's base model, where the adapter names it by a hub id.

    Raises:
        PreflightError: vLLM is not installed, or the settings do not go together.
    """
    from codctl.engines.vllm.backend import Backend
    from codctl.engines.vllm.engine import VllmEngine
    from codctl.engines.vllm.guard import Guard
    from codctl.engines.vllm.settings import check_installed, settings_of

    settings = settings_of(config, folder, base=base, on_gpus=bool(engines))
    guard = Guard()
    backends: list[Backend]
    if config.engine.servers:
        from codctl.engines.vllm.remote import Remote

        backends = [Remote(url, settings) for url in config.engine.servers]
        return VllmEngine(backends, settings, guard)
    check_installed()
    gpus = engines or ((),)
    from codctl.engines.vllm.served import Served

    logs = [log if len(gpus) == 1 else log.with_stem(f"{log.stem}-{i}") for i in range(len(gpus))]
    backends = [Served(i, settings, own, guard, path) for i, (own, path) in enumerate(zip(gpus, logs, strict=True))]
    return VllmEngine(backends, settings, guard)
