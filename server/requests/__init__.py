"""One request from lease to end."""
