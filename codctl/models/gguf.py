"""Read a GGUF file into a model and a tokenizer that can be saved as a Hugging Face folder.

transformers' loader does the work. What it leaves wrong is mended here: special tokens, the pre-tokenizer of
Llama-like models, and the mark of a quantization that is gone once the weights are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, pre_tokenizers

from codctl.errors import PreflightError
from codctl.models.weights import check_finite, refuse_misfit

_TOKENS = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
_END_OF_TURN = "tokenizer.ggml.eot_token_id"
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError, RuntimeError)


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself.

    Attributes:
        architecture: As llama.cpp names it.
        parameters: Numbers in all of its tensors.
        weights: The type of most of them, such as Q4_1.
        licence: As the file names it; empty when it does not.
        has_chat_template: Whether it can be talked to.
    """

    architecture: str
    parameters: int
    weights: str
    licence: str
    has_chat_template: bool
    values: dict[str, Any]


def read_header(path: Path) -> Header:
    """Read the metadata; the weights stay on disk.

    Raises:
        PreflightError: The package gguf is missing, or this is no GGUF file, or a truncated one.
    """
    if find_spec("gguf") is None:
        raise PreflightError("reading a GGUF file needs the package gguf", hint="pip install 'codctl[gguf]'")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        wanted = {"general.architecture", "general.license", "tokenizer.ggml.model", "tokenizer.ggml.pre", _END_OF_TURN}
        wanted |= {"tokenizer.chat_template", *_TOKENS.values()}
        values = {key: reader.fields[key].contents() for key in wanted if key in reader.fields}
        sizes: dict[str, int] = {}
        for tensor in reader.tensors:
            sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
        if not sizes or "general.architecture" not in values:
            raise ValueError("it has no tensors or names no architecture")
    except _UNREADABLE as error:
        raise PreflightError(f"not a GGUF file that can be read: {error}", where=str(path)) from error
    return Header(
        str(values["general.architecture"]),
        sum(sizes.values()),
        max(sizes, key=lambda kind: sizes[kind]),
        str(values.get("general.license", "")),
        "tokenizer.chat_template" in values,
        values,
    )


def load(path: Path, header: Header, dtype: str) -> tuple[Any, Any]:
    """The model, unpacked, and its tokenizer.

    Raises:
        PreflightError: transformers cannot load it, tensors are missing or no numbers, or its tokenizer is of a kind
            that is not known here.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model, info = AutoModelForCausalLM.from_pretrained(
            **where,
            dtype=getattr(torch, dtype),
            quantization_config=GgufConfig(dequantize=True),
            device_map="cpu",
            output_loading_info=True,
        )
    except _UNREADABLE as error:
        reason = str(error).strip().split("\n")[0]
        raise PreflightError(
            f"transformers cannot load this {header.architecture} model: {reason}", where=str(path)
        ) from error
    # Llama 3's frequencies also follow from its settings.
    extra = [name for name in info["unexpected_keys"] if "rope_freqs" not in name]
    refuse_misfit({**info, "unexpected_keys": extra}, path)
    check_finite(model.named_parameters(), path)
    _mend_pre_tokenizer(tokenizer, header, path)
    _mend_tokens(tokenizer, header)
    _mend_model(model, tokenizer, header)
    return model.eval(), tokenizer


def _mend_pre_tokenizer(tokenizer: Any, header: Header, path: Path) -> None:
    """How text is cut before the merges: for Llama-like models the loader takes GPT-2's way whatever the file says."""
    kind = header.values.get("tokenizer.ggml.pre")
    if header.architecture != "llama" or header.values.get("tokenizer.ggml.model") != "gpt2":
        return
    if kind == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        found = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    elif kind == "llama-bpe":
        split = pre_tokenizers.Split(Regex(_LLAMA_3), "isolated")
        found = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    elif kind in (None, "default", "gpt-2"):
        found = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        raise PreflightError(
            f"the tokenizer cuts text in the way {kind!r}, which is not known here (known: smollm, llama-bpe, gpt-2)",
            where=str(path),
            hint="take the model's Hugging Face folder instead",
        )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(found)


def _mend_tokens(tokenizer: Any, header: Header) -> None:
    """The special tokens that the file names; the loader takes the beginning of a text for its end."""
    for name, key in _TOKENS.items():
        if key in header.values:
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(int(header.values[key])))
    tokenizer.clean_up_tokenization_spaces = False  # it would take blanks out of replies
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if header.has_chat_template:
        tokenizer.chat_template = str(header.values["tokenizer.chat_template"])


def _mend_model(model: Any, tokenizer: Any, header: Header) -> None:
    """Let it be saved as what it is: unquantized, with every token that ends a reply."""
    model.hf_quantizer = None
    for name in ("quantization_config", "_model_name_or_path"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    model.is_quantized = False
    stops = {tokenizer.eos_token_id, header.values.get(_END_OF_TURN)} - {None}
    for settings in (model.config, model.generation_config):
        settings.bos_token_id, settings.pad_token_id = tokenizer.bos_token_id, tokenizer.pad_token_id
        settings.eos_token_id = tokenizer.eos_token_id
    if len(stops) > 1:
        model.generation_config.eos_token_id = sorted(int(stop) for stop in stops)
