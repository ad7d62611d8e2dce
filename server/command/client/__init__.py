"""Talks to a running server over HTTP, and starts one where a command needs its own."""
