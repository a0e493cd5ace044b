"""Loaded by vLLM's worker processes on a CPU, before they build the model.

oneDNN repacks weights and keeps the packed copy of a tied output layer when they are loaded again: the replies would be
wrong without an error. With adapters the output layer expects as many rows as tokens are sampled, and ends the engine
when it is asked for the log-probs of a prompt.
"""

from __future__ import annotations

from codctl.engines.vllm import worker


def _keep_plain_weights() -> None:
    import vllm._custom_ops as ops

    ops._supports_onednn = False


def _leave_output_layer_alone() -> None:
    """Adapters on the output layer are refused before an engine starts, so that there is nothing to add."""
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    PunicaWrapperCPU.add_lora_logits = lambda *_, **__: None


class Extension(worker.Extension):
    """Mixed into the worker's class, which is what has this module loaded."""


_keep_plain_weights()
_leave_output_layer_alone()
