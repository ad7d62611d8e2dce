"""The server's side of worker processes: start, watch, restart."""
