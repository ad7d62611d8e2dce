"""Conversations as prompt text, and a model's text as messages and tool calls."""
