"""HTTP parts that all routes share: access, limits, bodies, errors, stream writers."""
