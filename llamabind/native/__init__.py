"""Owners of llama.cpp's objects: backends, model, tokenizer, adapters."""
