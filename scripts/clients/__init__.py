"""Drives coding agents, SDKs and frameworks against the server; see docs/clients.md."""
