"""Speculative decoding: draft tokens and how many are worth checking."""
