"""Loading models and tokenizers, and adding LoRA adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codctl.cod.conversation import breaks_prefixes
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


def load_tokenizer(path: Path, say: Callable[[str], None] = lambda _: None) -> Any:
    """The tokenizer of a local folder; no hub, no remote code.

    A chat template that changes earlier turns, and that TRL has a faithful one for, is replaced by that one: Qwen3's
    own drops the empty think block of every turn but the last.

    Args:
        path: Folder.
        say: Told when the template is replaced.

    Raises:
        PreflightError: There is no tokenizer that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise PreflightError(f"the tokenizer cannot be loaded: {error}", where=str(path)) from error
    if not breaks_prefixes(tokenizer):
        return tokenizer
    from trl.chat_template_utils import get_training_chat_template

    try:
        replacement = get_training_chat_template(tokenizer)
    except ValueError:  # TRL does not know it; TemplateChat says what is wrong with it
        return tokenizer
    if replacement:
        tokenizer.chat_template = replacement
        say("the model's chat template changes earlier turns; TRL's variant of it, which only appends, is used instead")
    return tokenizer


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
