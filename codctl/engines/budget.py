"""How the transformers engine divides memory and work: known to the plan as well, which must not load torch."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 16  # tokens: unit of the memory of keys and values
SLOT = 256  # tokens by which the slots of a GPU grow
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


def slot_tokens(longest: int, most: int, device: str) -> int:
    """Tokens that each slot has room for.

    On a CPU room costs nothing until it is written to, so it is there for the longest sequence that may come.

    Args:
        longest: Of the sequences that are kept.
        most: Tokens of the longest sequence that may come.
        device: cpu or cuda.
    """
    wanted = most if device == "cpu" else min(longest + 1, most)  # a step writes behind the tokens of what waits
    grown = -(-wanted // SLOT) * SLOT
    return grown if device == "cpu" else min(grown, most)


def blocks_needed(lengths: Sequence[int], most: int, device: str) -> int:
    """Blocks that take memory when sequences of these lengths are kept: on a GPU every slot is as long as the longest.

    Args:
        lengths: Tokens of each sequence.
        most: Tokens of the longest sequence that may come.
        device: cpu or cuda.
    """
    if device == "cpu":
        return sum(map(blocks_for, lengths))
    return len(lengths) * blocks_for(slot_tokens(max(lengths, default=0), most, device))


def tokens_of_a_pass(parameters: int, device: str) -> int:
    """Most new tokens of one forward pass, of which replies have the first right: on a CPU those of a second or two."""
    if device != "cpu":
        return _GPU_PASS_TOKENS
    return max(_SHORTEST_PASS, _CPU_PASS_FLOP // (2 * parameters))
