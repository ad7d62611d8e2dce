"""GGUF files, read without native code."""
