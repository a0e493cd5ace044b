"""A model without its weights, for processes that each read only the part of them that they hold.

transformers builds the model on torch's `meta` device. Its parameters are then stand-ins: one number, expanded to the
shape. These take no memory either, and adapters can be put on them as on any model. `vacate` leaves them empty, so that
they can be cut into shards, and once those have memory, `rows` gives what belongs into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from codctl.models.files import Tensor, read_weights

Owner = tuple[torch.nn.Module, str]
"""A module and the name of its parameter."""


@dataclass(frozen=True)
class Outline:
    """A model whose weights are to be read.

    Attributes:
        model: With stand-ins; real are only its buffers, and adapters that it has been given.
        owners: Where each tensor of the files belongs; where it is shared, all places.
        stored: The tensors of the files.
    """

    model: Any
    owners: dict[str, list[Owner]]
    stored: dict[str, Tensor]

    def vacate(self) -> None:
        """Leave the stand-ins on the `meta` device, where they can be sharded."""
        for places in self.owners.values():
            _replace(places, lambda like: torch.empty(like.shape, dtype=like.dtype, device="meta"))

    def parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The parameters that are to be filled, as they are now; shared ones once."""
        for name, ((module, attribute), *_) in self.owners.items():
            yield name, getattr(module, attribute)

    def rows(self, name: str, first: int, end: int) -> torch.Tensor:
        """Rows of a tensor of the files; nothing else of it is read."""
        with safe_open(self.stored[name].file, "pt") as file:
            found: torch.Tensor = file.get_slice(name)[first:end]
            return found


def outlined(model: Any, folder: Path) -> Outline | None:
    """The outline of a model on the `meta` device.

    Args:
        model: As transformers made it there.
        folder: With its weights.

    Returns:
        None where the files do not hold its parameters one by one: transformers merges or renames some of them.
    """
    stored = read_weights(folder)
    shared: dict[int, list[tuple[str, Owner]]] = {}
    for prefix, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{attribute}" if prefix else attribute
            shared.setdefault(id(parameter), []).append((name, (module, attribute)))
    owners: dict[str, list[Owner]] = {}
    for places in shared.values():
        module, attribute = places[0][1]
        shape = tuple(getattr(module, attribute).shape)
        known = [name for name, _ in places if name in stored and stored[name].shape == shape]
        if not known:
            return None
        owners[known[0]] = [owner for _, owner in places]
    if any(name in stored for name, _ in model.named_buffers()):
        return None
    for places_of in owners.values():
        _replace(places_of, lambda like: torch.zeros((), dtype=like.dtype).expand(like.shape))
    _compute_buffers(model)
    return Outline(model, owners, stored)


def _replace(places: list[Owner], make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    module, attribute = places[0]
    old = getattr(module, attribute)
    new = torch.nn.Parameter(make(old), requires_grad=old.requires_grad)
    for owner, name in places:
        setattr(owner, name, new)


@torch.no_grad()
def _compute_buffers(model: Any) -> None:
    """Give memory and values to buffers that are in no file, as transformers does after loading."""
    for module in list(model.modules()):
        own = dict(module.named_buffers(recurse=False))
        for name, buffer in own.items():
            setattr(module, name, torch.empty_like(buffer, device="cpu"))
        if own:
            model._init_weights(module)
