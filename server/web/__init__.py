"""The web page: its handlers, its own modules (static/) and its libraries (vendor/)."""
