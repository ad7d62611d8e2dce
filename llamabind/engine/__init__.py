"""The engine: a thread that repeats steps (schedule, decode, sample, output) on a loaded model."""
