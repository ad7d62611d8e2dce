"""A load in the worker: plan, estimate, effective settings."""
