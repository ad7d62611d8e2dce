"""Flags that several subcommands share."""
