"""From the command line to a server that listens."""
