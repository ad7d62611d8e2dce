"""A llama.cpp context: its parameters, its memory, batches, compute threads."""
