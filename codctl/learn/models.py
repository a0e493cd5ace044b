"""Loading models and tokenizers, and adding LoRA adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codctl.cod.conversation import TemplateChat
from codctl.config.schema import LoraConfig
from codctl.errors import PreflightError
from codctl.learn import hub


def check_folder(path: Path) -> None:
    """Raise PreflightError unless the folder looks like a causal language model with a tokenizer, in safetensors.

    A PEFT adapter folder is as good, when its base model is.
    """
    if not path.is_dir():
        raise PreflightError(f"no model folder at {path}", hint=_how_to_get(path))
    weights = base_folder(path)
    if not weights.is_dir():
        raise PreflightError(f"the adapter's base model is missing: no model folder at {weights}", where=str(path))
    if not (weights / "config.json").is_file():
        raise PreflightError("the model folder has no config.json", where=str(weights))
    if missing := hub.missing_weights(weights):
        raise PreflightError(
            f"the model folder has no {', '.join(missing)} (pickled weights are not loaded)",
            where=str(weights),
            hint="save it with model.save_pretrained(folder)",
        )
    if not (path / "tokenizer.json").is_file() and not (path / "tokenizer_config.json").is_file():
        raise PreflightError(
            "the model folder has no tokenizer (tokenizer.json)",
            where=str(path),
            hint=f"save one beside it: tokenizer.save_pretrained({str(path)!r})",
        )


def _how_to_get(path: Path) -> str:
    return f"hf download {path}" if hub.is_hub_id(str(path)) else "give a local Hugging Face folder"


def base_folder(path: Path) -> Path:
    """Where the full weights are: the base model that a PEFT adapter folder names, else the folder itself.

    Raises:
        PreflightError: The adapter names a hub id that is not cached.
    """
    adapter = path / "adapter_config.json"
    if not adapter.is_file():
        return path
    settings = json.loads(adapter.read_text())
    return hub.located(settings["base_model_name_or_path"], settings.get("revision"))


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a local folder; no hub, no remote code.

    Raises:
        PreflightError: There is no tokenizer that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise PreflightError(f"the tokenizer cannot be loaded: {error}", where=str(path)) from error


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
            found = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
            if found is not None:
                return tuple(found) if isinstance(found, list) else (int(found),)
    return ()


def load_model(path: Path, dtype: str, device: str) -> Any:
    """The model of a local folder in evaluation mode; safetensors only, no hub, no remote code.

    A PEFT adapter folder is loaded on top of the base model that it names.
    """
    import torch
    from transformers import AutoModelForCausalLM

    base = base_folder(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.resolve(),  # adapters trained on it name this path, and may be loaded from another working directory
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError) as error:
        raise PreflightError(f"the model cannot be loaded: {error}", where=str(base)) from error
    if base != path:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, path, use_safetensors=True)
    # Otherwise the pad token's row never learns, also where a template uses that token as its stop token.
    model.get_input_embeddings().padding_idx = None
    return model.to(pick_device(device)).eval()


def pick_device(device: str) -> str:
    """Resolve `auto`."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise PreflightError("model.device=cuda, but torch sees no GPU", hint="codctl doctor, or model.device=cpu")
    return device


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
