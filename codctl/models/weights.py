"""Whether the weights of a model folder are those of the model that its config.json describes.

transformers fills what is missing with random numbers, leaves out what is too much, and says so in a warning. Here both
are errors. Names, shapes and types come from the headers of the files and are compared with the model on torch's `meta`
device, so that a model of any size is checked in a second; what transformers renames or merges while it loads counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import PreflightError
from codctl.models import architectures
from codctl.models.files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    Tensor,
    read_header,
    read_settings,
    read_weights,
    understood,
)
from codctl.quantities import counted

if TYPE_CHECKING:
    import torch

_FLOATS = {"F64", "F32", "F16", "BF16"}
_DTYPES = ("float32", "float16", "bfloat16", "float64")
_SHOWN = 3
_AGAIN = "fetch the model again: config.json and weights have to be of one model"


def check_weights(base: Path, adapter: Path | None = None) -> None:
    """Compare weights and config.json. No weights are read.

    Args:
        base: Model folder that `check_folder` has accepted.
        adapter: PEFT adapter folder on top of it.

    Raises:
        PreflightError: They are of different models, or the architecture is not known.
    """
    silence()
    config = read_config(base)
    found = read_weights(base)
    if getattr(config, "quantization_config", None) is not None:
        return  # names and types are those of its quantization: `refuse_misfit` looks when it is loaded
    if odd := sorted(name for name, tensor in found.items() if tensor.dtype not in _FLOATS):
        raise PreflightError(
            f"{odd[0]} is stored as {found[odd[0]].dtype}, and config.json names no quantization{_more(odd)}",
            where=str(base),
            hint=_AGAIN,
        )
    model = _described(base, config, found)
    _check_tied(base, model, found)
    if adapter is not None:
        _check_adapter(adapter, model)


def silence() -> None:
    """Keep the warnings and progress bars of transformers off the terminal: what matters in them is an error here."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def read_config(folder: Path) -> Any:
    """The transformers config of a model folder; no hub, no remote code.

    Raises:
        PreflightError: It cannot be used, or is not that of a causal language model.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, __version__

    path = folder / "config.json"
    settings = read_settings(path)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        if "auto_map" in settings:
            raise PreflightError("the model needs Python code of its own, which codctl does not run", where=str(path))
        raise PreflightError(
            f"model_type {kind!r} is no architecture that transformers {__version__} knows",
            where=str(path),
            hint=f"{_AGAIN}; a newer transformers may know it",
        )
    if "transformers_weights" in settings:
        raise PreflightError("it names a weight file of its own (transformers_weights)", where=str(path))
    architectures.of_folder(folder)  # its numbers are numbers, and no larger than a model's
    for key in ("dtype", "torch_dtype"):
        dtype = settings.get(key)
        if dtype is not None and dtype not in _DTYPES:
            raise PreflightError(f"{key} is {dtype!r}, expected one of {', '.join(_DTYPES)}", where=str(path))
    with understood("config.json cannot be used", path, _AGAIN):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise PreflightError(
            f"a {kind} model is no causal language model", where=str(path), hint="give a decoder-only model"
        )
    _check_class(settings, MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__, path)
    return config


def refuse_misfit(info: Mapping[str, Any], folder: Path) -> None:
    """Refuse a model of which not every tensor came from its files, by what transformers reports (loading info).

    Raises:
        PreflightError: Names the tensors.
    """
    if missing := sorted(info["missing_keys"]):
        raise PreflightError(
            f"the weights lack {_count(missing)} that the model of config.json has: {_names(missing)}",
            where=str(folder),
            hint=_AGAIN,
        )
    if extra := sorted(info["unexpected_keys"]):
        raise PreflightError(
            f"the weights have {_count(extra)} that the model of config.json has not: {_names(extra)}",
            where=str(folder),
            hint=f"{_AGAIN}; or load it with transformers and save it again to leave them out",
        )
    if mismatched := sorted(info["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise _other_shape(folder, name, stored, wanted, len(mismatched))
    if errors := info["error_msgs"]:
        raise PreflightError(f"the weights do not fit: {' '.join(str(errors[0]).split())[:300]}", where=str(folder))


def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], folder: Path) -> None:
    """Refuse weights that are NaN or infinite: every number computed with them would be, too.

    Raises:
        PreflightError: Names the first such tensor.
    """
    import torch

    found = []
    for name, tensor in tensors:
        if not tensor.is_floating_point() or tensor.element_size() < 2 or not tensor.numel():
            continue
        if not all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor.detach())):
            found.append((name, int((~torch.isfinite(tensor)).sum()), tensor.numel()))
    if not found:
        return
    name, bad, size = found[0]
    raise PreflightError(
        f"{bad:,} of {size:,} numbers in {name} are NaN or infinite{_more(found)}",
        where=str(folder),
        hint="fetch the model again, or take an earlier checkpoint of a training that diverged",
    )


def stored_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a model folder, one after another."""
    from safetensors import safe_open

    for path in sorted({tensor.file for tensor in read_weights(folder).values()}):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                yield name, file.get_tensor(name)


def _described(folder: Path, config: Any, found: Mapping[str, Tensor]) -> Any:
    """The model of config.json on the meta device, when the weights are its own."""
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    empty = {name: torch.empty(tensor.shape, device="meta") for name, tensor in found.items()}
    with understood("transformers cannot build the model of config.json", folder / "config.json", _AGAIN):
        model, info = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
            None,
            config=config,
            state_dict=empty,
            dtype=torch.float32,
            device_map="meta",
            attn_implementation="sdpa",
            ignore_mismatched_sizes=True,  # they are refused, with their names
            output_loading_info=True,
        )
    refuse_misfit(info, folder)
    return model


def _check_class(settings: Mapping[str, Any], known: str, path: Path) -> None:
    """Refuse a model with another head, such as a classifier."""
    names = settings.get("architectures")
    if not names:
        return
    if not isinstance(names, list) or known.lower() not in (str(name).lower() for name in names):
        shown = ", ".join(map(str, names)) if isinstance(names, list) else repr(names)
        raise PreflightError(f"architectures is {shown}, expected {known}", where=str(path), hint=_AGAIN)


def _check_tied(folder: Path, model: Any, found: Mapping[str, Tensor]) -> None:
    """Refuse two different matrices where config.json says that one is also the other."""
    import torch
    from safetensors import safe_open

    for target, source in model.all_tied_weights_keys.items():
        if target not in found or source not in found:
            continue
        pair = []
        for name in (target, source):
            with safe_open(found[name].file, "pt") as file:
                pair.append(file.get_tensor(name))
        if not torch.equal(*pair):
            raise PreflightError(
                f"config.json ties {target} to {source} (tie_word_embeddings), and the weights have two different ones",
                where=str(folder),
                hint=_AGAIN,
            )


def _check_adapter(folder: Path, model: Any) -> None:
    """Refuse an adapter whose tensors are not those that its settings put on this base model."""
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict

    kind = read_settings(folder / ADAPTER).get("peft_type")
    if kind != "LORA":
        raise PreflightError(f"the adapter is of the kind {kind!r:.100}, codctl knows LoRA", where=str(folder))
    with understood("adapter_config.json cannot be used", folder):
        config = PeftConfig.from_pretrained(folder)
    config.init_lora_weights = True  # others compute with the base model's weights
    with understood("the adapter does not fit its base model", folder, _OTHER_BASE):
        adapted = PeftModel(model, config)
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        names = {name.replace(".default", ""): value for name, value in adapted.state_dict().items()}
    found = read_header(folder / ADAPTER_WEIGHTS)
    if missing := sorted(wanted.keys() - found.keys()):
        raise PreflightError(
            f"the adapter lacks {_count(missing)}: {_names(missing)}", where=str(folder), hint=_OTHER_BASE
        )
    known = {**names, **wanted}
    if extra := sorted(found.keys() - known.keys()):
        raise PreflightError(
            f"the adapter has {_count(extra)} that do not fit its base model or its settings: {_names(extra)}",
            where=str(folder),
            hint=_OTHER_BASE,
        )
    odd = [name for name in sorted(found) if found[name].shape != tuple(known[name].shape)]
    if odd:
        raise _other_shape(folder, odd[0], found[odd[0]].shape, known[odd[0]].shape, len(odd), _OTHER_BASE)
    if types := [name for name in sorted(found) if found[name].dtype not in _FLOATS]:
        raise PreflightError(f"{types[0]} is stored as {found[types[0]].dtype}", where=str(folder), hint=_OTHER_BASE)


def _other_shape(
    folder: Path, name: str, stored: Iterable[int], wanted: Iterable[int], count: int, hint: str = _AGAIN
) -> PreflightError:
    more = f" (and {count - 1} more)" if count > 1 else ""
    return PreflightError(
        f"{name} has the shape {_shape(stored)}, the model needs {_shape(wanted)}{more}", where=str(folder), hint=hint
    )


def _shape(sizes: Iterable[int]) -> str:
    return "×".join(map(str, sizes)) or "of a single number"


def _count(names: list[str]) -> str:
    return counted(len(names), "tensor")


def _names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _more(found: list[Any]) -> str:
    return f" (and {len(found) - 1} more tensors)" if len(found) > 1 else ""


_OTHER_BASE = "base_model_name_or_path in adapter_config.json has to name the model that the adapter was trained on"
