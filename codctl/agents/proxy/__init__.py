"""Model proxy: OpenAI chat and Anthropic messages in, any model of codctl's or any OpenAI-compatible server behind."""
