"""vLLM as the engine (`codctl.engines.vllm.provider`)."""
