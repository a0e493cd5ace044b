"""Loaded by vLLM's worker processes on a CPU, before they build the model.

oneDNN repacks weights and keeps the packed copy of a tied output layer when they are loaded again: the replies would be
wrong without an error.
"""

from __future__ import annotations


def _keep_plain_weights() -> None:
    import vllm._custom_ops as ops

    ops._supports_onednn = False


class Extension:
    """Mixed into the worker's class, which is what has this module loaded."""


_keep_plain_weights()
