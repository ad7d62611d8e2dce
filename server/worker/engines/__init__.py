"""Requests and answers between the protocol and llamabind's engines."""
