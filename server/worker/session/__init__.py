"""Frames in and out of the worker."""
