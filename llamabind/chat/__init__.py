"""From a conversation to a prompt, and from a model's text to messages and tool calls."""
