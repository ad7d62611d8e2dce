"""The machine and the process: CPUs, memory limits, threads."""
