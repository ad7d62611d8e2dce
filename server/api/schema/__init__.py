"""Request fields and reply forms that all dialects share."""
