"""Starts the server: from the command line to a server that listens."""
