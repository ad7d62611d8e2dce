"""Benchmarks against llama-server of the same build; run as scripts/benchmark."""
