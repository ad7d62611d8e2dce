"""Conversations in a terminal: the answer as it arrives, the prompt, the /commands."""
