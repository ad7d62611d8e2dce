"""Drives real clients against the server: coding agents, SDKs and frameworks; see docs/clients.md."""
