"""Parsers of flag values: text in, checked value out, or a ValueError with a sentence."""
