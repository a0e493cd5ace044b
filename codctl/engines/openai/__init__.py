"""Any OpenAI-compatible server as an engine: text in, text out."""
