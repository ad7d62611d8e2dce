"""Request bodies: unpacked, within limits, parsed into the structs of the dialects."""
