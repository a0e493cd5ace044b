"""Loading models and tokenizers, and adding LoRA adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codctl.config.schema import LoraConfig
from codctl.errors import PreflightError

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")


def check_folder(path: Path) -> None:
    """Raise PreflightError unless the folder looks like a causal language model with a tokenizer, in safetensors.

    A PEFT adapter folder is as good, when its base model is.
    """
    if not path.is_dir():
        raise PreflightError(f"no model folder at {path}", hint=_how_to_get(path))
    weights = base_folder(path)
    if not weights.is_dir():
        raise PreflightError(f"the adapter's base model is gone: no model folder at {weights}", where=str(path))
    if not (weights / "config.json").is_file():
        raise PreflightError("the model folder has no config.json", where=str(weights))
    if not any((weights / name).is_file() for name in WEIGHT_FILES):
        raise PreflightError(
            "the model folder has no model.safetensors (pickled weights are not loaded)",
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
    """What to type for a model that is not there: a name such as Qwen/Qwen3-8B is fetched to where it is expected."""
    is_hub_name = not path.is_absolute() and len(path.parts) == 2 and not path.parts[0].startswith((".", "~"))
    return f"hf download {path} --local-dir {path}" if is_hub_name else "give a local Hugging Face folder"


def base_folder(path: Path) -> Path:
    """Where the full weights are: the base model that a PEFT adapter folder names, else the folder itself."""
    adapter = path / "adapter_config.json"
    return Path(json.loads(adapter.read_text())["base_model_name_or_path"]) if adapter.is_file() else path


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a local folder; no hub, no remote code."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise PreflightError(f"the tokenizer cannot be loaded: {error}", where=str(path)) from error


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
    return model.to(pick_device(device)).eval()


def pick_device(device: str) -> str:
    """Resolve `auto`."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise PreflightError("model.device=cuda, but torch sees no GPU", hint="codctl doctor, or model.device=cpu")
    return device


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
