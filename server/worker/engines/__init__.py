"""Converts requests and outputs between the protocol and llamabind's engines."""
