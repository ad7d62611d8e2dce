"""Models by state: loading, admission, memory, unloading."""
