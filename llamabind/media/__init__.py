"""Images and audio: checks, formats, encoding by the projector, positions."""
