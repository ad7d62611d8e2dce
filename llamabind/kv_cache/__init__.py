"""Which sequence holds which cells of the KV cache, and what is retained for later prompts."""
