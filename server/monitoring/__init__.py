"""Metrics of models, machine and GPUs."""
