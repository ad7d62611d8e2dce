"""A llama.cpp context: its parameters, memory, batches and compute threads."""
