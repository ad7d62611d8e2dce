"""From prompt to answer: what LLM, AsyncLLM and other users of the engine share."""
