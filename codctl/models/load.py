"""Loading models and tokenizers: to sample with, to train, with LoRA adapters."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cod.conversation import TemplateChat
from codctl.config.schema import Config, LoraConfig
from codctl.errors import PreflightError
from codctl.models import attention, hub
from codctl.models.files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    WEIGHTS,
    check_files,
    missing_weights,
    read_header,
    read_settings,
    understood,
)
from codctl.models.weights import check_finite, check_weights, refuse_misfit
from codctl.seeds import derive_seed

if TYPE_CHECKING:
    import torch

    from codctl.models.outline import Outline

_SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
_REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
_TOKENS = 2**31  # ids are smaller


def check_folder(path: Path) -> None:
    """Raise PreflightError unless the folder looks like a causal language model with a tokenizer, in safetensors.

    A PEFT adapter folder is as good, when its base model is.
    """
    _check_weight_files(path)
    if not (path / "tokenizer.json").is_file() and not (path / "tokenizer_config.json").is_file():
        raise PreflightError(
            "the model folder has no tokenizer (tokenizer.json)",
            where=str(path),
            hint=f"save one beside it: tokenizer.save_pretrained({str(path)!r})",
        )
    named_stops(path)


def check_model(path: Path) -> None:
    """As `check_folder`; and the weights are those that config.json and adapter_config.json describe.

    Quick for a model of any size: of the weights only headers are read.
    """
    check_folder(path)
    _check_weights(path)


def _check_weights(path: Path) -> None:
    base = base_folder(path)
    check_weights(base, path if base != path else None)


def _check_weight_files(path: Path) -> None:
    if not path.is_dir():
        raise PreflightError(f"no model folder at {path}", hint=_how_to_get(path))
    check_files(path)
    base = base_folder(path)
    if (path / ADAPTER).is_file():
        _check_base(path, base)
    if not (base / "config.json").is_file():
        raise PreflightError("the model folder has no config.json", where=str(base))
    for file in [folder / name for folder in dict.fromkeys((path, base)) for name in _SETTINGS]:
        if file.is_file():
            read_settings(file)
    missing = missing_weights(base)
    if missing == [WEIGHTS]:
        raise PreflightError(
            f"the model folder has no {WEIGHTS} (pickled weights are not loaded)",
            where=str(base),
            hint="save it with model.save_pretrained(folder)",
        )
    if missing:
        raise PreflightError(
            f"the model folder has no {', '.join(missing)}, which its index names",
            where=str(base),
            hint="fetch the model again: not all of it is there",
        )


def _check_quantization(folder: Path) -> None:
    """Refuse one that transformers does not know: it would take the stored numbers for plain weights."""
    from transformers.quantizers import AutoHfQuantizer

    settings = read_settings(folder / "config.json").get("quantization_config")
    if settings is None:
        return
    with understood("quantization_config cannot be used", folder / "config.json"):
        is_known = AutoHfQuantizer.supports_quant_method(settings)
    if not is_known:
        raise PreflightError(
            f"quant_method {settings.get('quant_method')!r:.100} is no quantization that transformers knows",
            where=str(folder / "config.json"),
            hint="engine.kind=vllm may know it",
        )


def _check_base(adapter: Path, base: Path) -> None:
    """Refuse an adapter without weights or without a base model of its own."""
    if not base.is_dir():
        raise PreflightError(f"the adapter's base model is missing: no model folder at {base}", where=str(adapter))
    check_files(base)
    if (base / ADAPTER).is_file():
        raise PreflightError(
            f"the adapter's base model {base} is an adapter itself",
            where=str(adapter / ADAPTER),
            hint="merge it into its own base model: PeftModel.merge_and_unload()",
        )
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise PreflightError(
            f"the adapter folder has no {ADAPTER_WEIGHTS} (pickled weights are not loaded)", where=str(adapter)
        )
    read_header(adapter / ADAPTER_WEIGHTS)


def _how_to_get(path: Path) -> str:
    return f"hf download {path}" if hub.is_hub_id(str(path)) else "give a local Hugging Face folder"


def base_folder(path: Path) -> Path:
    """Where the full weights are: the base model that a PEFT adapter folder names, else the folder itself.

    Raises:
        PreflightError: The adapter names no base model, or a hub id that is not cached.
    """
    file = path / ADAPTER
    if not file.is_file():
        return path
    settings = read_settings(file)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str) or not base:
        raise PreflightError(
            "the adapter names no base model (base_model_name_or_path)",
            where=str(path),
            hint="put the folder or hub id of the model that it was trained on there",
        )
    if revision is not None and not _REVISION.fullmatch(str(revision)):
        raise PreflightError(f"the adapter's revision {revision!r:.100} is none of a hub model", where=str(path))
    found = hub.find(base, revision)
    if found is None:
        raise PreflightError(
            f"the adapter's base model {base} is not in the cache of hub models",
            where=str(path),
            hint=f"hf download {base}{f' --revision {revision}' if revision else ''}",
        )
    return found


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a local folder; no hub, no remote code.

    Raises:
        PreflightError: There is no tokenizer that can be loaded.
    """
    from transformers import AutoTokenizer

    with understood("the tokenizer cannot be loaded", path, "put the tokenizer files that came with the model there"):
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)


def load_chat(path: Path, tokenizer: Any = None) -> TemplateChat:
    """The tokenizer's chat template, with every stop token that the model's files name.

    Args:
        path: Model folder or PEFT adapter folder.
        tokenizer: Its tokenizer, where it is loaded already.

    Raises:
        PreflightError: The tokenizer cannot be loaded, or its template cannot be used.
    """
    return TemplateChat(tokenizer or load_tokenizer(path), stop_ids=named_stops(path), where=str(path))


def named_stops(path: Path) -> tuple[int, ...]:
    """Stop tokens by generation_config.json, where it is silent by config.json; of an adapter those of its base."""
    for folder in dict.fromkeys((path, base_folder(path))):
        for name in ("generation_config.json", "config.json"):
            file = folder / name
            found = read_settings(file).get("eos_token_id") if file.is_file() else None
            if found is not None:
                return _ids(found, file)
    return ()


def _ids(found: Any, file: Path) -> tuple[int, ...]:
    ids = found if isinstance(found, list) else [found]
    if not all(type(one) is int and 0 <= one < _TOKENS for one in ids):
        raise PreflightError(
            f"eos_token_id has to be a token id or a list of them, got {found!r:.100}", where=str(file)
        )
    return tuple(ids)


def load_model(path: Path, dtype: str, device: str) -> Any:
    """The model of a local folder in evaluation mode; safetensors only, no hub, no remote code.

    A PEFT adapter folder is loaded on top of the base model that it names.

    Raises:
        PreflightError: It is damaged: see `check_model`; or some of its weights are NaN or infinite.
    """
    base = _checked_base(path)
    model = _on_base(_loaded(base, dtype), base, path).to(pick_device(device)).eval()
    check_finite(model.named_parameters(), path)
    return model


def outline_model(path: Path, dtype: str) -> Outline | None:
    """As `load_model`, without weights: they are only described, and can be read in parts. None where they cannot.

    Raises:
        PreflightError: The folder is damaged.
    """
    from codctl.models.outline import outlined

    base = _checked_base(path)
    if read_settings(base / "config.json").get("quantization_config") is not None:
        return None
    outline = outlined(_loaded(base, dtype, device_map="meta"), base)
    return replace(outline, model=_on_base(outline.model, base, path).eval()) if outline is not None else None


def _checked_base(path: Path) -> Path:
    _check_weight_files(path)
    _check_weights(path)
    base = base_folder(path)
    _check_quantization(base)
    return base


def _loaded(base: Path, dtype: str, **more: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with understood("the model cannot be loaded", base):
        model, info = AutoModelForCausalLM.from_pretrained(
            base.resolve(),  # adapters trained on it name this path, and may be loaded from another working directory
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
            **more,
        )
    refuse_misfit(info, base)
    # Otherwise the pad token's row never learns, also where a template uses that token as its stop token.
    model.get_input_embeddings().padding_idx = None
    return model


def _on_base(model: Any, base: Path, path: Path) -> Any:
    """The model with the adapter of a folder, where that is one."""
    if base == path:
        return model
    from peft import PeftModel

    with understood("the adapter cannot be loaded", path):
        return PeftModel.from_pretrained(model, path, use_safetensors=True)


def load_adapters(folders: Mapping[str, Path], dtype: str, device: str) -> Any:
    """One base model with several PEFT adapters, by the names that `set_adapter` takes; see `load_model`.

    Args:
        folders: Of adapters on one base.
        dtype: Of all weights.
        device: Where it runs.
    """
    from peft import PeftModel

    [(first, folder), *others] = folders.items()
    base = _checked_base(folder)
    loaded = _loaded(base, dtype)
    with understood("the adapter cannot be loaded", folder):
        model = PeftModel.from_pretrained(loaded, folder, adapter_name=first, use_safetensors=True)
    for name, path in others:
        _checked_base(path)
        with understood("the adapter cannot be loaded", path):
            model.load_adapter(path, adapter_name=name, use_safetensors=True)
    model = model.to(pick_device(device)).eval()
    check_finite(model.named_parameters(), folder)
    return model


def pick_device(device: str) -> str:
    """Resolve `auto`."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise PreflightError("model.device=cuda, but torch sees no GPU", hint="codctl doctor, or model.device=cpu")
    return device


def processes_of(config: Config) -> int:
    """In how many processes it works with a model of this one: forks need Linux and a CPU."""
    from codctl.engines.provider import processes_on_cpu

    can_fork = sys.platform == "linux" and pick_device(config.model.device) == "cpu"
    return processes_on_cpu(config) if can_fork else 1


def with_adapters(model: Any, lora: LoraConfig, seed: int) -> Any:
    """The model with PEFT adapters, of which only they train: those of its folder, or else new ones."""
    if not hasattr(model, "peft_config"):
        return add_lora(model, lora, seed)
    model.set_adapter(model.active_adapter)
    return model


def add_lora(model: Any, lora: LoraConfig, seed: int) -> Any:
    """Wrap the model with PEFT adapters; only they train."""
    import torch
    from peft import LoraConfig as PeftLoraConfig
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**32)
        config = PeftLoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=lora.target,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, config)


def load_trainable(folder: Path, config: Config, device: str) -> Any:
    """The model of a folder, ready for `Learner`; an engine may sample with the same object.

    What is trained is kept in float32: all weights, or the adapters on a base in `model.dtype`. For evaluation
    `load_model` is enough, which keeps everything in one type.

    Args:
        folder: Hugging Face folder to start from.
        config: Recipe.
        device: "auto", or what torch calls a device.

    Raises:
        PreflightError: The model cannot be loaded, or its attention cannot run on the device.
    """
    return make_trainable(load_model(folder, loaded_dtype(config), device), config)


def outline_trainable(folder: Path, config: Config, device: str) -> Outline | None:
    """As `load_trainable`, without weights: see `outline_model`."""
    outline = outline_model(folder, loaded_dtype(config))
    if outline is None:
        return None
    return replace(outline, model=make_trainable(outline.model, config, device))


def loaded_dtype(config: Config) -> str:
    """Type that a model is to have before `make_trainable`: float32 where all its weights train."""
    return config.model.dtype if config.model.lora.rank else "float32"


def make_trainable(model: Any, config: Config, device: str = "") -> Any:
    """Give a model in `loaded_dtype` the adapters, attention and checkpointing of a recipe.

    Adapters that it comes with are trained further.

    Args:
        model: As it is loaded.
        config: Recipe.
        device: Where it will be, when it is not there yet.

    Raises:
        PreflightError: Its attention cannot run on the device.
    """
    lora = config.model.lora
    if lora.rank:
        model = with_adapters(model, lora, derive_seed(config.seed, "lora"))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    use_attention(model, config.model.attention, config.model.dtype, device)
    if config.train.activation_checkpointing:
        checkpoint_activations(model)
    return model


def autocast_type(dtype: str) -> torch.dtype | None:
    """What `TokenLogprobs` and the engine must be given for a model of `load_trainable`; None needs no autocast.

    Both, because sampling and training log-probs only agree when they are computed by the same arithmetic.
    """
    import torch

    return torch.bfloat16 if dtype == "bfloat16" else None


def use_attention(model: Any, wanted: str, dtype: str = "bfloat16", device: str = "") -> None:
    """Switch a model to the attention that `model.attention` asks for, on its device and for this arithmetic."""
    base = _base(model)
    kind = device.partition(":")[0] or next(model.parameters()).device.type
    name = attention.attention_of(wanted, kind, dtype)
    if name == base.config._attn_implementation:
        return
    attention.register()
    base.set_attn_implementation(name)


def checkpoint_activations(model: Any) -> None:
    """Keep only what enters each layer, and compute the rest again in the backward pass; in training mode only."""
    _base(model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
