"""What codctl has to know of an engine besides how it samples: its settings, its GPUs, its memory, how it is opened.

Another engine is a class like `Vllm`, registered in the entry-point group `codctl.engines` or named by its import path
(`codctl docs adding-an-engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import ValidationError

from codctl.cod.engine import EngineError, EngineStats, Generation, RequestTag, Sampling, Scores, Weights
from codctl.cod.trajectory import TokenRecord
from codctl.config.consistency import MisfitError
from codctl.config.registries import ENGINES
from codctl.config.schema import Config, Section
from codctl.quantities import counted

if TYPE_CHECKING:
    import torch


class OpenEngine:
    """Base of engines: all but `generate` may stay as it is. See `codctl.cod.engine.Engine`."""

    def __init__(self) -> None:
        self.stats = EngineStats()

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked at once: of several engines, the others are asked while one is not."""
        return True

    async def until_ready(self) -> None:
        """Wait until it can be asked; BackendError when that will not be again."""

    async def start(self) -> None:
        """Make it ready; BackendError when that cannot be. All that follows is in the same event loop."""

    def open_session(self) -> None:
        """A trajectory begins."""

    def close_session(self) -> None:
        """A trajectory ended."""

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        """One reply; EngineError when there is none, LostError when another engine may be asked for it."""
        raise NotImplementedError

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """Log-probs of each row's sampled tokens at temperature 1, whoever sampled them.

        Args:
            rows: Any number.
            top: How many of the likeliest tokens at each place are wanted beside them, or `ALL`.

        Raises:
            EngineError: It cannot, or not these rows.
        """
        raise EngineError(f"{type(self).__name__} gives no log-probs of given tokens")

    async def update_weights(self, weights: Weights) -> None:
        """Sample with these from now on. Nothing is in flight."""

    async def sleep(self) -> None:
        """Give the GPUs that it shares with the learner to the learner."""

    async def wake(self) -> None:
        """Take them back."""

    async def aclose(self) -> None:
        """End all that was started."""


@dataclass(frozen=True)
class Part:
    """Some bytes of a device and where the number comes from."""

    name: str
    bytes: int
    formula: str


@dataclass(frozen=True)
class KvSpace:
    """The room for keys and values in one engine.

    Attributes:
        bytes: On each of its GPUs.
        tokens: That fit; 0 when not even the weights do.
        context: Longest sequence it is asked for.
    """

    bytes: int
    tokens: int
    context: int

    @property
    def sequences(self) -> int:
        """Sequences of the longest kind that fit at the same time."""
        return self.tokens // self.context


@dataclass(frozen=True)
class ModelSize:
    """A model as an engine holds it.

    Attributes:
        parameters: Of the full model.
        number: Bytes of a number.
        adapter: Parameters of the adapter that is served on top of it; 0 without one.
        kv_bytes: Keys and values of one token, in every layer.
        kv_heads: Among which tensor parallelism divides them.
        context: Longest sequence that it is asked for.
    """

    parameters: int
    number: int
    adapter: int
    kv_bytes: int
    kv_heads: int
    context: int


@dataclass(frozen=True)
class LoadedModel:
    """A model in this process, for an engine that samples with it.

    Attributes:
        model: Of transformers, or PEFT-wrapped.
        pad_id: Token that fills short rows.
        max_tokens: Longest sequence that it reads.
        autocast: Type of the arithmetic when it is not that of the weights.
        kv_memory: Most bytes of keys and values; None for no limit.
        score: Gives rows their scores, as the learner computes them; None where nobody asks.
    """

    model: Any
    pad_id: int
    max_tokens: int
    autocast: torch.dtype | None
    kv_memory: int | None
    score: Callable[[Sequence[TokenRecord], int], list[Scores]] | None = None


@dataclass(frozen=True)
class Opening:
    """What an engine is opened with.

    Attributes:
        config: Recipe.
        folder: Hugging Face folder to sample with, or a PEFT adapter's.
        base: Folder of the full weights: an adapter's base model, else the same.
        gpus: The GPUs of each engine on this machine (`Placement.engines`); empty for one on what there is.
        log: Where processes of its own write.
        loaded: The model, for an engine in this process.
        top: Where it shall give scores: most of the likeliest tokens that it will be asked for; else None.
    """

    config: Config
    folder: Path
    base: Path
    gpus: tuple[tuple[int, ...], ...]
    log: Path
    loaded: LoadedModel | None = None
    top: int | None = None


class EngineProvider:
    """An engine by name. The defaults are those of one that others run, on GPUs of their own.

    Attributes:
        title: In messages.
        in_process: Whether it samples in this process, with a model that codctl loads; of a training, the learner's.
        scores: Whether it gives log-probs of given tokens (`OpenEngine.score`), as teachers must.
        options: Its own keys in the section `engine.options`.
    """

    title: ClassVar[str] = ""
    in_process: ClassVar[bool] = False
    scores: ClassVar[bool] = False
    options: ClassVar[type[Section]] = Section

    def read_options(self, config: Config) -> Any:
        """`engine.options`, checked.

        Raises:
            MisfitError: A key that there is not, or a value that cannot be.
        """
        try:
            return self.options.model_validate(config.engine.options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(self.options.model_fields) or "none"
            raise MisfitError(f"engine.options.{name}", first["msg"], f"options of this engine: {known}") from error

    def check(self, config: Config) -> None:
        """Refuse settings that do not go together, by the recipe alone.

        Raises:
            MisfitError: Names the key.
        """

    def check_machine(self, config: Config) -> None:
        """Refuse what cannot run here, such as a package that is not installed.

        Raises:
            PreflightError: Says what to do.
        """

    def version(self) -> str:
        """What `codctl doctor` says of it; empty for nothing."""
        return ""

    def takes_gpus(self, config: Config) -> bool:
        """Whether codctl gives its engines GPUs, by engine.placement, engine.gpus and engine.tensor_parallel."""
        return False

    def memory(self, config: Config, model: ModelSize, gpu: int) -> tuple[list[Part], KvSpace | None]:
        """What it holds on one of its GPUs, part by part, for an engine that takes GPUs.

        Args:
            config: Recipe.
            model: That it samples with.
            gpu: Bytes of the GPU.
        """
        return [], None

    def smaller(self, config: Config) -> Iterator[tuple[str, Any]]:
        """Settings that make it take less memory, the gentlest first: key and value."""
        return iter(())

    def step_overhead_s(self, layers: int) -> float | None:
        """Seconds of a decoding step that neither weights nor caches explain; None leaves it to the planner."""
        return None

    def is_sent_to(self, config: Config) -> bool:
        """Whether it takes weights from the learner itself (`Weights.sender`), and not from their folder."""
        return False

    def where(self, config: Config, gpus: tuple[tuple[int, ...], ...]) -> str:
        """Where it runs, in words: for the plan."""
        return f"{config.engine.kind}, outside codctl"

    def open(self, opening: Opening) -> OpenEngine:
        """An engine; nothing runs before `await engine.start()`.

        Raises:
            PreflightError: It cannot sample with this.
        """
        raise NotImplementedError


class Transformers(EngineProvider):
    """Continuous batching on a plain `transformers` model in this process."""

    title = "transformers"
    in_process = True
    scores = True

    def smaller(self, config: Config) -> Iterator[tuple[str, Any]]:
        most = config.runtime.max_batch
        yield from (("runtime.max_batch", rows) for rows in (128, 64, 32, 16, 8) if rows < most)

    def where(self, config: Config, gpus: tuple[tuple[int, ...], ...]) -> str:
        return "transformers engine in the rank-0 process"

    def open(self, opening: Opening) -> OpenEngine:
        from codctl.engines.transformers_engine import TransformersEngine

        loaded = opening.loaded
        assert loaded is not None
        return TransformersEngine(
            loaded.model,
            pad_id=loaded.pad_id,
            max_tokens=loaded.max_tokens,
            max_batch=opening.config.runtime.max_batch,
            autocast=loaded.autocast,
            memory=loaded.kv_memory,
            score=loaded.score,
        )


def provider_of(config: Config) -> EngineProvider:
    """The engine that a recipe names.

    Raises:
        PreflightError: Its plug-in cannot be used.
    """
    return cast("EngineProvider", ENGINES.get(config.engine.kind))


def processes_on_cpu(config: Config) -> int:
    """In how many processes the work with a model of this one is shared on a CPU, each with one thread."""
    is_here = provider_of(config).in_process and not config.engine.overlap
    return min(config.runtime.processes, config.runtime.threads) if is_here else 1


def on_gpus(config: Config, gpus: tuple[tuple[int, ...], ...]) -> str:
    """The GPUs of engines in words, such as `2 engines on GPUs 0–1`."""
    each = f" × {config.engine.tensor_parallel} GPUs" if config.engine.tensor_parallel > 1 else ""
    places = f"GPUs {gpus[0][0]}–{gpus[-1][-1]}" if len(gpus) > 1 or each else f"GPU {gpus[0][0]}"
    return f"{counted(len(gpus), 'engine')}{each} on {places}"
