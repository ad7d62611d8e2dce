"""Shared by the tests: fakes, generated files, and servers."""
