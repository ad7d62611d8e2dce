"""Attacks on a running server, by name, and how the server fares meanwhile (docs/testing.md)."""
