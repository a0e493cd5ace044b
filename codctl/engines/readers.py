"""How the transformers engine gets logits out of a model: the quickest way that gives the model's own log-probs.

`Fused` computes Llama and Qwen3 itself, `Flat` lets the model read without padding, and `Whole` reads every sequence
anew in each pass, as any causal model can. Which one serves is tried out with the model at hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from codctl.engines.flat import FLAT, FlatPass, register
from codctl.engines.fused import FusedDecoder, UnknownModelError
from codctl.engines.kv_cache import Content, KvCache
from codctl.engines.steps import Steps, captured

# Largest mean difference of log-probs that another order of sums explains, relative to their spread. A mistake in
# attention, in positions or in a norm is off by far more.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_TOLERANCE_HALF = 0.06
_STEP_TOLERANCE = {torch.float32: 1e-3}  # mean difference of log-probs
_STEP_TOLERANCE_HALF = 0.15


class Reader(Protocol):
    """Runs new tokens through a model.

    Attributes:
        name: For messages.
        keeps: Whether it keeps keys and values, so that only new tokens are read.
    """

    name: str
    keeps: bool

    @property
    def replays(self) -> bool:
        """Whether `step` replays a graph, so that replies go on at a fraction of what it costs to read prompts."""

    def forget(self) -> None:
        """Let go of what was made of the weights, which change or rest now."""

    def __call__(self, cache: KvCache, contents: Sequence[Content], new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits of what follows each sequence, shape (rows, vocabulary); sequences of one new token first, by slot."""

    def step(
        self, cache: KvCache, contents: Sequence[Content], ids: Sequence[int], drawn_R3: np.ndarray[Any, Any]
    ) -> torch.Tensor | None:
        """What follows one new token of each sequence, by slot (`Steps`). None where that is no quicker."""


class Fused:
    """Layers of Llama and Qwen3 in few, large products; on a GPU decoding steps are replayed."""

    name, keeps = "fused", True

    def __init__(self, model: Any, autocast: torch.dtype | None) -> None:
        self._decoder = FusedDecoder(model, autocast)
        self._steps: Steps | None = None
        self._are_trusted: bool | None = None  # not known before they were tried

    @property
    def replays(self) -> bool:
        return self._are_trusted is True

    def forget(self) -> None:
        self._decoder.forget()
        self._steps = None

    def step(
        self, cache: KvCache, contents: Sequence[Content], ids: Sequence[int], drawn_R3: np.ndarray[Any, Any]
    ) -> torch.Tensor | None:
        if cache.device.type != "cuda" or self._are_trusted is False or cache.layers[0] is None:
            return None
        if self._steps is None or self._steps.allocations != cache.allocations:
            self._steps = None  # its memory is free for the next
            self._steps = Steps(self._decoder, cache, captured)
        found_2S = self._steps(contents, ids, drawn_R3)
        if self._are_trusted is None:
            slots = torch.tensor([content.slot for content in contents], device=cache.device)
            logits_RV = self(cache, contents, [[token] for token in ids]).float()
            scaled_RV = logits_RV / torch.from_numpy(drawn_R3[:, :1]).to(cache.device, torch.float32)
            tokens_R1 = found_2S[0, slots].long()[:, None]
            wanted_R = torch.log_softmax(scaled_RV, -1).gather(1, tokens_R1)[:, 0]
            gap = float((found_2S[1, slots] - wanted_R).abs().mean())
            self._are_trusted = gap <= _STEP_TOLERANCE.get(self._decoder.dtype, _STEP_TOLERANCE_HALF)
            if not self._are_trusted:
                warnings.warn(
                    f"a CUDA graph gives other log-probs than its kernels ({gap:.2g}): it is not used", stacklevel=2
                )
                return None
        return found_2S

    def __call__(self, cache: KvCache, contents: Sequence[Content], new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        return self._decoder(_flat_pass(cache, contents, new_ids))


class Flat:
    """The model's own code with another attention, which is put into its place for each pass."""

    name, keeps, replays = "flat", True, False

    def __init__(self, model: Any, autocast: torch.dtype | None) -> None:
        register()
        self._model, self._autocast = model, autocast

    def forget(self) -> None:
        """Nothing is held."""

    def step(self, *_: Any) -> None:
        """Nothing is replayed."""

    def __call__(self, cache: KvCache, contents: Sequence[Content], new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        flat = _flat_pass(cache, contents, new_ids)
        decoder = self._model.get_decoder()
        before = decoder.config._attn_implementation
        decoder.config._attn_implementation = FLAT
        try:
            with _arithmetic(cache.device, self._autocast):
                found = self._model(
                    input_ids=flat.ids_T[None],
                    position_ids=flat.positions_T[None],
                    use_cache=False,
                    logits_to_keep=flat.last_R,
                    flat=flat,
                )
        finally:
            decoder.config._attn_implementation = before
        return found.logits[0]  # type: ignore[no-any-return]


class Whole:
    """The model as it is: whole sequences, padded to the longest of a few.

    Args:
        model: Causal model; PEFT's wrapping is taken off, the adapters are still in its layers.
        autocast: Type of the arithmetic when it is not that of the weights.
        pad_id: Fills short rows.
        most_tokens: Of one forward pass.
    """

    name, keeps, replays = "whole", False, False

    def __init__(self, model: Any, autocast: torch.dtype | None, pad_id: int, most_tokens: int) -> None:
        self.model, self.autocast = model, autocast
        self._pad_id, self._most_tokens = pad_id, most_tokens

    def forget(self) -> None:
        """Nothing is held."""

    def step(self, *_: Any) -> None:
        """Nothing is replayed."""

    def __call__(self, cache: KvCache, contents: Sequence[Content], new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.cat([self._read(cache.device, part) for part in self._parts(new_ids)])

    def _parts(self, new_ids: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
        parts, first, longest = [], 0, 0
        for end, ids in enumerate(new_ids):
            if end > first and (end - first + 1) * max(longest, len(ids)) > self._most_tokens:
                parts.append(new_ids[first:end])
                first, longest = end, 0
            longest = max(longest, len(ids))
        return [*parts, new_ids[first:]]

    def _read(self, device: torch.device, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        lengths = [len(own) for own in ids]
        padded = np.full((len(ids), max(lengths)), self._pad_id)
        mask = np.zeros_like(padded)
        for row, own in enumerate(ids):
            padded[row, : len(own)], mask[row, : len(own)] = own, 1
        with _arithmetic(device, self.autocast):
            named = {} if min(lengths) == max(lengths) else {"attention_mask": torch.from_numpy(mask).to(device)}
            found = self.model(input_ids=torch.from_numpy(padded).to(device), use_cache=False, **named).logits
        last_R = torch.tensor(lengths, device=device) - 1
        return found[torch.arange(len(ids), device=device), last_R]  # type: ignore[no-any-return]


def find_reader(whole: Whole, longest: int) -> tuple[Reader, KvCache]:
    """The quickest way of reading a model that gives its own log-probs, and the cache that goes with it.

    Args:
        whole: Reads the model in the slowest way, which is always right.
        longest: Tokens of the longest sequence that may come.
    """
    model, autocast = whole.model, whole.autocast
    device = next(model.parameters()).device
    layers = model.config.get_text_config().num_hidden_layers
    reasons = []

    def new_cache() -> KvCache:
        return KvCache(layers, longest, device, autocast)

    ways: tuple[Callable[[Any, torch.dtype | None], Reader], ...] = (Fused, Flat)
    for way in ways:
        try:
            reader = way(model, autocast)
            gap = _gap(reader, whole, new_cache(), longest)
        except torch.OutOfMemoryError:
            raise
        except UnknownModelError:
            continue
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reasons.append(str(error).splitlines()[0][:200] if str(error) else type(error).__name__)
            continue
        limit = _TOLERANCE.get(autocast or next(model.parameters()).dtype, _TOLERANCE_HALF)
        if gap <= limit:
            reader.forget()
            return reader, new_cache()
        reasons.append(f"other log-probs ({gap:.2g} of their spread, limit {limit:.2g})")
    warnings.warn(
        f"{type(model).__name__} is read anew for every token, which is slow: {'; '.join(reasons)}", stacklevel=2
    )
    return whole, new_cache()


@torch.no_grad()
def _gap(reader: Reader, whole: Whole, cache: KvCache, longest: int) -> float:
    """Mean difference of log-probs from those of whole sequences, relative to their spread.

    Sequences begin together, go on with one or several tokens, and another one joins them.
    """
    words = whole.model.get_input_embeddings().num_embeddings
    lengths = [min(length, longest) for length in (5, 11, 8, 3)]
    ids = [[(7 + 31 * row + 5 * place) % words for place in range(length)] for row, length in enumerate(lengths)]
    contents = [Content() for _ in ids]
    begun = [3, 6, 7, 0]
    rounds = [(0, 1, 2), (0, 2, 1, 3)]  # rows of each pass
    ends = [begun, [begun[0] + 1, len(ids[1]), begun[2] + 1, len(ids[3])]]
    found = []
    for rows, upto in zip(rounds, ends, strict=True):
        news = []
        for row in rows:
            if contents[row].slot < 0:
                cache.take(contents[row])
            news.append(ids[row][contents[row].length : min(upto[row], lengths[row])])
        pairs = [(row, new) for row, new in zip(rows, news, strict=True) if new]
        pairs.sort(key=lambda pair: (len(pair[1]) > 1, contents[pair[0]].slot))
        own = [contents[row] for row, _ in pairs]
        cache.prepare(own, [content.length + len(new) for content, (_, new) in zip(own, pairs, strict=True)], None)
        logits = reader(cache, own, [new for _, new in pairs])
        for row, new in pairs:
            contents[row].length += len(new)
        wanted = whole(cache, [], [ids[row][: contents[row].length] for row, _ in pairs])
        found.append((logits.float().log_softmax(-1), wanted.float().log_softmax(-1)))
    mine, other = (torch.cat([pair[n] for pair in found]) for n in (0, 1))
    return float((mine - other).abs().mean() / other.std().clamp(min=1e-6))


def _flat_pass(cache: KvCache, contents: Sequence[Content], new_ids: Sequence[Sequence[int]]) -> FlatPass:
    return FlatPass(cache, [content.slot for content in contents], [content.length for content in contents], new_ids)


def _arithmetic(device: torch.device, autocast: torch.dtype | None) -> Any:
    return torch.autocast(device.type, autocast, enabled=autocast is not None)
