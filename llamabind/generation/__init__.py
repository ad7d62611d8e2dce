"""Prompts in, answers out: what LLM, AsyncLLM and the engine's clients share."""
