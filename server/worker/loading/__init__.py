"""Loads in the worker: plan, estimate, effective settings."""
