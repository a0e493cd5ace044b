"""The decoder of Llama and Qwen3 in few, large products, for sampling: what `transformers` computes, without its code.

Matrices that read the same input are one product where that needs no second copy of a large model; adapters of LoRA
are not merged but are two narrow products for each of these. All is made of the weights when the first pass after an
update needs it.

Shapes: T new tokens, R sequences, W width of the model, H heads, K key-value heads, D head size, V vocabulary, r rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.functional import linear, rms_norm, silu

_KNOWN = ("LlamaModel", "Qwen3Model")
_SMALL = 64 << 20  # bytes of a model whose matrices are laid together in a copy
_TABLE = 1024  # positions by which the table of rotations grows


class Pass(Protocol):
    """What the decoder has to know of a pass: `FlatPass`, or a step of every slot."""

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    last_R: torch.Tensor
    longest: int

    def attend(
        self,
        layer: int,
        query_THD: torch.Tensor,
        key_TKD: torch.Tensor,
        value_TKD: torch.Tensor,
        scale: float,
        *,
        window: int | None = None,
    ) -> torch.Tensor: ...


class UnknownModelError(Exception):
    """The model is none that is computed here."""


class _Product:
    """x → x Wᵀ for several matrices that read the same input, their outputs behind one another."""

    def __init__(self, modules: list[Any], dtype: torch.dtype, *, joined: bool) -> None:
        bases = [_base_of(module) for module in modules]
        weights = [base.weight.detach().to(dtype) for base in bases]
        self._weights = [torch.cat(weights)] if joined and len(weights) > 1 else weights
        self._size = sum(len(weight) for weight in weights)
        self._bias = None
        if any(base.bias is not None for base in bases):
            none = [base.bias if base.bias is not None else base.weight.new_zeros(len(base.weight)) for base in bases]
            self._bias = torch.cat([bias.detach().to(dtype) for bias in none])
        self._down_rW = self._up_rV = None
        adapters = [_adapter_of(module) for module in modules]
        if found := [adapter for adapter in adapters if adapter is not None]:
            self._down_rW = torch.cat([down for down, _ in found]).to(dtype)
            ups = [
                adapter[1] if adapter else w.new_zeros(0, len(w)) for adapter, w in zip(adapters, weights, strict=True)
            ]
            self._up_rV = torch.block_diag(*[up.float() for up in ups]).to(dtype)  # type: ignore[no-untyped-call]

    def __call__(self, x_TW: torch.Tensor) -> torch.Tensor:
        if len(self._weights) == 1:
            out = linear(x_TW, self._weights[0], self._bias)
        else:
            out, first = x_TW.new_empty(len(x_TW), self._size), 0
            for weight in self._weights:
                torch.mm(x_TW, weight.t(), out=out[:, first : first + len(weight)])
                first += len(weight)
            if self._bias is not None:
                out += self._bias
        if self._down_rW is not None and self._up_rV is not None:
            out.addmm_(linear(x_TW, self._down_rW), self._up_rV)
        return out


@dataclass(frozen=True)
class _Layer:
    """What one layer computes with."""

    before_attention_W: torch.Tensor
    qkv: _Product
    head_norms_HD: torch.Tensor | None  # of queries and keys, Qwen3's
    window: int | None
    out: _Product
    before_mlp_W: torch.Tensor
    gate_up: _Product
    down: _Product


class FusedDecoder:
    """From new tokens to logits.

    Args:
        model: Causal model of `transformers`, perhaps with PEFT's LoRA in its layers.
        autocast: Type of the products when it is not that of the weights.

    Raises:
        UnknownModelError: It is none of those that are known here, or not as they were published.
    """

    def __init__(self, model: Any, autocast: torch.dtype | None) -> None:
        self._model, self._decoder = model, model.get_decoder()
        _check(self._decoder, model.get_output_embeddings())
        config = self._decoder.config
        self.dtype: torch.dtype = autocast or self._decoder.layers[0].input_layernorm.weight.dtype
        self._eps: float = config.rms_norm_eps
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self.forget()

    def forget(self) -> None:
        """Let go of what was made of the weights."""
        self._layers: list[_Layer] = []
        self._head: _Product | None = None
        self._rotations: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, flat: Pass) -> torch.Tensor:
        """Logits of what follows the last new token of each sequence, shape (R, V)."""
        if self._head is None:
            self._prepare()
        assert self._head is not None
        x_TW = self._decoder.embed_tokens.weight[flat.ids_T]
        cos_T1D, sin_T1D = self._rotated(flat)
        for number, layer in enumerate(self._layers):
            mixed_TW = self._attention(number, layer, x_TW, cos_T1D, sin_T1D, flat)
            if number == len(self._layers) - 1:  # of the last layer only what is sampled from is wanted
                x_TW, mixed_TW = x_TW[flat.last_R], mixed_TW[flat.last_R]
            x_TW = x_TW + layer.out(mixed_TW)
            gate_up = layer.gate_up(self._normed(x_TW, layer.before_mlp_W))
            gate, up = gate_up.chunk(2, -1)
            x_TW = x_TW + layer.down(silu(gate).mul_(up))
        return self._head(self._normed(x_TW, self._decoder.norm.weight))

    def _attention(
        self,
        number: int,
        layer: _Layer,
        x_TW: torch.Tensor,
        cos_T1D: torch.Tensor,
        sin_T1D: torch.Tensor,
        flat: Pass,
    ) -> torch.Tensor:
        heads, kv_heads = self._heads, self._kv_heads
        states_THD = layer.qkv(self._normed(x_TW, layer.before_attention_W)).view(len(x_TW), heads + 2 * kv_heads, -1)
        turned_THD = states_THD[:, : heads + kv_heads]
        size = turned_THD.shape[2]
        if layer.head_norms_HD is not None:
            turned_THD = rms_norm(turned_THD, (size,), None, self._eps) * layer.head_norms_HD
        turned_THD = turned_THD * cos_T1D + turned_THD.roll(size // 2, -1) * sin_T1D
        query_THD, key_TKD = turned_THD[:, :heads], turned_THD[:, heads:]
        value_TKD = states_THD[:, heads + kv_heads :]
        mixed_THD = flat.attend(number, query_THD, key_TKD, value_TKD, size**-0.5, window=layer.window)
        return mixed_THD.reshape(len(x_TW), -1)

    def _normed(self, x_TW: torch.Tensor, weight_W: torch.Tensor) -> torch.Tensor:
        if x_TW.dtype == torch.float32:
            return rms_norm(x_TW, (x_TW.shape[1],), weight_W, self._eps).to(self.dtype)
        return rms_norm(x_TW, (x_TW.shape[1],), None, self._eps) * weight_W  # rounded twice, as `transformers` does

    def _rotated(self, flat: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and signed sines of each token's position, shape (T, 1, D)."""
        needed = flat.longest
        if self._rotations is None or len(self._rotations[0]) < needed:
            weight = self._decoder.embed_tokens.weight
            positions = torch.arange(-(-needed // _TABLE) * _TABLE, device=weight.device)
            cos_1LD, sin_1LD = self._decoder.rotary_emb(weight[:1], positions[None])
            half = sin_1LD.shape[2] // 2
            self._rotations = cos_1LD[0], torch.cat((-sin_1LD[0, :, :half], sin_1LD[0, :, half:]), -1)
        cos_LD, sin_LD = self._rotations
        return cos_LD[flat.positions_T][:, None], sin_LD[flat.positions_T][:, None]

    def _prepare(self) -> None:
        layers = self._decoder.layers
        has = layers[0].input_layernorm.weight.dtype
        size = sum(weight.nbytes for weight in layers.parameters())
        joined = has != self.dtype or size <= _SMALL

        def product(*modules: Any) -> _Product:
            return _Product(list(modules), self.dtype, joined=joined)

        for layer in layers:
            own, mlp = layer.self_attn, layer.mlp
            norms = None
            if hasattr(own, "q_norm"):
                parts = (own.q_norm.weight.expand(self._heads, -1), own.k_norm.weight.expand(self._kv_heads, -1))
                norms = torch.cat(parts).detach()
            self._layers.append(
                _Layer(
                    layer.input_layernorm.weight.detach(),
                    product(own.q_proj, own.k_proj, own.v_proj),
                    norms,
                    getattr(own, "sliding_window", None),
                    product(own.o_proj),
                    layer.post_attention_layernorm.weight.detach(),
                    product(mlp.gate_proj, mlp.up_proj),
                    product(mlp.down_proj),
                )
            )
        self._head = product(self._model.get_output_embeddings())


def _check(decoder: Any, head: Any) -> None:
    """Raise UnknownModelError for what is not computed here."""
    config = decoder.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    known = (
        type(decoder).__name__ in _KNOWN
        and type(decoder).__module__.startswith("transformers.")
        and config.hidden_act == "silu"
        and rope not in ("dynamic", "longrope")
        # Training with checkpoints hooks the embeddings, which changes no number.
        and not any(module._forward_hooks or module._forward_pre_hooks for module in decoder.layers.modules())
    )
    if not known:
        raise UnknownModelError(type(decoder).__name__)
    for layer in decoder.layers:
        own, mlp = layer.self_attn, layer.mlp
        for module in (own.q_proj, own.k_proj, own.v_proj, own.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj, head):
            _base_of(module)
            _adapter_of(module)


def _base_of(module: Any) -> Any:
    """The linear layer under an adapter."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    if type(base) is not nn.Linear or type(base.weight) is not nn.Parameter:
        raise UnknownModelError(type(base).__name__)
    return base


def _adapter_of(module: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """LoRA's matrices: (r, in), and (r, out) with its scaling. None when there is none, or when it is merged."""
    if type(module) is nn.Linear:
        return None
    from peft.tuners.lora import Linear

    if type(module) is not Linear or module.lora_variant or any(module.lora_bias.values()) or module.fan_in_fan_out:
        raise UnknownModelError(type(module).__name__)
    names = [name for name in module.active_adapters if name in module.lora_A]
    if module.disable_adapters or module.merged or not names:
        return None
    downs = [module.lora_A[name].weight.detach() for name in names]
    ups = [module.lora_B[name].weight.detach().t() * module.scaling[name] for name in names]
    return torch.cat(downs), torch.cat(ups)
