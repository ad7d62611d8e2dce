"""Outputs of a request between its worker and its handler."""
