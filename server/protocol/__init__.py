"""The messages between the server and its worker processes."""
