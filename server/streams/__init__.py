"""Outputs on their way from a worker to a handler."""
