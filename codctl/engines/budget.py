"""How the transformers engine divides memory and work: known to the plan as well, which must not load torch."""

from __future__ import annotations

BLOCK = 16  # tokens
_SPARE = 16  # one block in so many is allocated ahead: each growth copies a layer
_GPU_PASS_TOKENS = 16_384
_CPU_PASS_FLOP = 100 * 10**9
_SHORTEST_PASS = 256  # tokens
_KV_SHARE = 0.7  # of what weights leave of a memory


def kv_limit(memory: int, resident: int) -> int:
    """Most bytes of keys and values that are kept; what needs more waits.

    Args:
        memory: Of the machine or GPU.
        resident: What lies in it anyway: weights, and the optimiser's moments where the model is trained.
    """
    return max(0, round(_KV_SHARE * (memory - resident)))


def blocks_for(tokens: int) -> int:
    """Blocks that so many tokens take."""
    return -(-tokens // BLOCK)


def blocks_allocated(used: int) -> int:
    """Blocks that are allocated when so many are needed: one for padding, and some ahead."""
    return 1 + used + max(1, used // _SPARE)


def blocks_resident(used: int, device: str) -> int:
    """Blocks that take memory when so many are used: on a CPU what was allocated ahead takes none until it is used."""
    return 1 + used if device == "cpu" else blocks_allocated(used)


def tokens_of_a_pass(parameters: int, device: str) -> int:
    """Most prompt tokens that are read in one forward pass: on a CPU those of a second or two."""
    if device != "cpu":
        return _GPU_PASS_TOKENS
    return max(_SHORTEST_PASS, _CPU_PASS_FLOP // (2 * parameters))
