"""What every request passes: access, limits, bodies, errors, streams on the wire."""
